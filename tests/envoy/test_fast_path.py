"""The fast path of a hit inside Envoy; tests/transport/test_fast_path.py has what both transports share."""

from collections.abc import AsyncIterator

import pytest

from proxy.envoy.fast_path import AT_ONCE
from proxy.envoy.framing import framed
from tests.envoy.test_calls import Exchange
from tests.support.fast_paths import REQUEST, Way, over_envoy
from tests.support.in_process import Stack
from tests.support.media_methods import GET_FILES_BY_MODEL
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


@pytest.fixture
async def way(redis: RedisServer) -> AsyncIterator[Way]:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        process = await stack.process()
        async with over_envoy(process) as way:
            await way.ask(())
            await until(process.found, "the fill")
            yield way


async def test_a_hit_is_sent_in_three_events(way: Way) -> None:
    assert way.calls is not None
    sent = (await Exchange(framed(REQUEST)).of(way.calls, GET_FILES_BY_MODEL)).sent
    assert [event["type"] for event in sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]
    assert way.asked == [REQUEST]


async def test_a_caller_who_is_gone_by_the_answer_is_counted_once_and_gives_its_place_back(way: Way) -> None:
    assert way.calls is not None

    class Leaving(Exchange):
        async def receive(self) -> dict[str, object]:
            event = await super().receive()
            self.gone = True
            return event

    exchange = await Leaving(framed(REQUEST)).of(way.calls, GET_FILES_BY_MODEL)
    assert exchange.sent == []
    assert way.admission.in_progress == 0
    cancelled = {"rpc_system_name": "grpc", "rpc_method": "media.MediaService/GetFilesByModel"}
    cancelled |= {"rpc_status_code": "CANCELLED", "error_type": ""}
    assert way.process.metric("rpc_server_call_duration_seconds_count", **cancelled) == 1


async def test_an_answer_that_envoy_should_not_hold_at_once_takes_the_long_way(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1, name="n" * AT_ONCE)
        process = await stack.process()
        async with over_envoy(process) as way:
            await way.ask(())
            await until(process.found, "the fill")
            answer = await way.ask(())
    assert answer.x_cache == "hit"
    assert len(answer.body) > AT_ONCE
