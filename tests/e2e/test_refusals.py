"""What operators see of calls that the proxy refuses and of a media service that fails, on each transport."""

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from grpc import StatusCode

from tests.support.calling import Gateway
from tests.support.raw_upstream import unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

pytestmark = pytest.mark.usefixtures("each_transport")

READ = "/media.MediaService/GetFilesByModel"
FORWARDED = "/media.MediaService/GetFileURL"
REFUSED = "the proxy serves at most 3 calls at once (MAX_CONCURRENT_CALLS)"


async def stats(proxy: ProxyProcess) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{proxy.admin_port}/stats") as answer:
        told: dict[str, Any] = await answer.json()
        return told


async def code_of(call: "grpc.aio.UnaryUnaryCall[bytes, bytes]") -> StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


@pytest.mark.parametrize("method", [READ, FORWARDED])
async def test_calls_above_the_limit_are_told_in_log_metrics_and_stats(upstream: FakeMediaServer, method: str) -> None:
    gate = upstream.media.hold(method.rpartition("/")[2])
    settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "MAX_CONCURRENT_CALLS": "3"}
    async with ProxyProcess(**settings) as proxy, grpc.aio.insecure_channel(proxy.addr) as channel:
        held = [asyncio.ensure_future(code_of(unary(channel, method))) for _ in range(3)]
        await gate.reached(3)
        refused = [await code_of(unary(channel, method)) for _ in range(20)]
        assert refused == [StatusCode.RESOURCE_EXHAUSTED] * 20

        async def counted() -> bool:
            refusals = await proxy.metric('media_cache_refusals_total{limit="MAX_CONCURRENT_CALLS"}')
            return refusals == 20

        await until(counted, "20 refusals to be counted")
        label = f'method="{method.rpartition("/")[2]}",status="RESOURCE_EXHAUSTED"'
        assert await proxy.metric(f"media_cache_calls_total{{{label}}}") == 20
        told = (await stats(proxy))["callers"]
        assert told["refused"] == {"MAX_CONCURRENT_CALLS": 20}
        assert told["by_status"] == {"RESOURCE_EXHAUSTED": 20}
        assert told["limits"]["MAX_CONCURRENT_CALLS"] == {"used": 3, "limit": 3}
        gate.open()
        assert set(await asyncio.gather(*held)) == {StatusCode.OK}

        async def answered() -> bool:
            by_status: dict[str, int] = (await stats(proxy))["callers"]["by_status"]
            return by_status == {"OK": 3, "RESOURCE_EXHAUSTED": 20}

        await until(answered, "the calls that were held to be counted")
        [line] = [json.loads(line) for line in proxy.lines if "calls refused" in line]
        assert (line["level"], line["limit"]) == ("warning", "MAX_CONCURRENT_CALLS")
        assert line["msg"] == f"calls refused by the proxy: {REFUSED}"


@pytest.mark.parametrize(
    ("body", "options", "limit"),
    [
        (bytes(2 << 20), {}, "MAX_MESSAGE_BYTES"),
        (b"", {"compression": grpc.Compression.Gzip}, "ACCEPT_COMPRESSED"),
        (b"", {"metadata": [("key", "x" * 30000)]}, "MAX_METADATA_BYTES"),
    ],
)
async def test_each_limit_names_its_setting(
    upstream: FakeMediaServer, transport: str, body: bytes, options: dict[str, Any], limit: str
) -> None:
    """gRPC's core does not tell which of its limits it was: then all of them are named."""
    settings = {"MAX_MESSAGE_BYTES": "1MiB", "MAX_METADATA_BYTES": "8KiB", "MEDIA_SERVICE_ADDR": upstream.addr}
    async with ProxyProcess(**settings) as proxy, grpc.aio.insecure_channel(proxy.addr) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(READ)
        call = method(body or b"x" * 2000, timeout=30, **options)
        assert await code_of(call) is not StatusCode.OK
        [line] = await proxy.logged("calls refused")
        told = json.loads(line)
        # Neither gRPC's core nor Envoy's codec says why it ended a call whose request it did not take.
        told_by_us = transport == "envoy" and limit != "MAX_METADATA_BYTES"
        assert told["limit"] == (limit if told_by_us else "unread")
        assert limit in told["msg"]


@pytest.mark.parametrize(
    "failure", [StatusCode.INTERNAL, "success = false"], ids=lambda failure: str(getattr(failure, "name", failure))
)
async def test_a_media_service_that_answers_with_failures_is_told_and_counts_no_misses(
    redis: RedisServer, upstream: FakeMediaServer, failure: StatusCode | str
) -> None:
    settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "REDIS_ADDR": redis.addr}
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr) as gateway:
        assert await gateway.x_cache(1) == "miss"
        if isinstance(failure, StatusCode):
            upstream.media.fail("GetFilesByModel", failure)
        else:
            upstream.media.unsuccessful["GetFilesByModel"] = "database away"
        for model in range(2, 12):
            if isinstance(failure, StatusCode):
                with pytest.raises(grpc.aio.AioRpcError):
                    await gateway.read(model_id=model)
            else:
                assert await gateway.x_cache(model) == "miss"  # the contract's five words
        [line] = await proxy.logged("the media service answers with failures")
        name = failure.name if isinstance(failure, StatusCode) else failure
        assert json.loads(line)["msg"].endswith(f": {name}")
        told = await stats(proxy)
        assert (told["results"]["failure"], told["results"]["miss"]) == (10, 1)
        assert told["dependencies"]["upstream"]["up"]
        assert told["dependencies"]["upstream"]["reason"] == f"it answers with failures, the last one {name}"
        assert await proxy.metric("media_cache_upstream_failing") == 1
        upstream.media.heal()

        async def healed() -> bool:
            await gateway.read(model_id=1, per_page=100)
            return not (await stats(proxy))["dependencies"]["upstream"]["reason"]

        await until(healed, "its answers to count as good", 30)
        await proxy.logged("the media service answers without failures again")
        assert await proxy.metric("media_cache_upstream_failing") == 0
