"""The cases for which `unary_call` exists; test_upstream has everything that shows through `Upstream.unary`."""

import asyncio
from dataclasses import replace

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.transport.unary_call import UnaryCall
from tests.as_direct.upstream import HandUpstream, When, answered, http_answer
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"


@pytest.mark.parametrize("when", ["headers", "message", "half-close"])
async def test_the_status_of_an_error_page_is_seen_however_soon_the_page_is_whole(when: When) -> None:
    with HandUpstream().serving() as upstream:
        upstream.answers[METHOD.encode()] = replace(http_answer(503, b"<html>" * 100), when=when)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream.port}") as channel:
            calls = [UnaryCall(channel, METHOD, b"q", (), 30) for _ in range(300)]
            await asyncio.gather(*(call.ended() for call in calls))
    assert {(call.code, tuple(call.messages)) for call in calls} == {(StatusCode.UNAVAILABLE, ())}


async def test_all_of_an_answer_is_there_at_its_end() -> None:
    with HandUpstream().serving() as upstream:
        upstream.answers[METHOD.encode()] = answered(b"1", initial=[(b"i", b"2")], trailing=[(b"t-bin", b"AP8")])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream.port}") as channel:
            call = UnaryCall(channel, METHOD, b"q", (("k", "v"),), None)
            await call.ended()
        assert (call.code, call.details, call.messages) == (StatusCode.OK, "", [b"1"])
        assert (call.initial_metadata, call.trailing_metadata) == ((("i", "2"),), (("t-bin", b"\x00\xff"),))
        [arrived] = upstream.seen
        assert (arrived.of(b"k"), bytes(arrived.data)) == ([b"v"], b"\0\0\0\0\1q")
        assert arrived.of(b"grpc-timeout") == []


async def test_a_second_message_ends_the_call_at_once() -> None:
    with HandUpstream().serving() as upstream:
        upstream.answers[METHOD.encode()] = answered(*[b"again"] * 100)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream.port}") as channel:
            call = UnaryCall(channel, METHOD, b"q", (), None)
            await asyncio.wait_for(call.ended(), 20)
    assert call.messages == [b"again"] * 2


async def test_its_tasks_end_soon_after_whoever_awaits_it_was_cancelled() -> None:
    with HandUpstream().serving() as upstream:
        upstream.answers[METHOD.encode()] = replace(answered(b""), when="headers", frames=lambda _: b"")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{upstream.port}") as channel:
            call = UnaryCall(channel, METHOD, b"q", (), None)
            waiting = asyncio.ensure_future(call.ended())
            await until(lambda: upstream.seen)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await until(lambda: all(task.done() for task in call.tasks))
            assert not any(task.cancelled() for task in call.tasks)
