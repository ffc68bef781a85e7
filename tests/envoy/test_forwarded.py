"""Calls that Envoy forwards without the core are counted like all others, by gRPC status; on each transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.envoy.forwarded import ForwardedCalls
from tests.support.media_methods import media_metrics
from tests.support.raw_media import RawMedia, reset_after_headers
from tests.support.raw_upstream import Context, RawUpstream, Seen, requests, status_of, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

KNOWN, OTHER = "/media.MediaService/GetFileURL", "/any.Service/Anything"
READ = "/media.MediaService/GetFilesByModel"
SERVER, CLIENT = "rpc_server_call_duration_seconds", "rpc_client_call_duration_seconds"


async def not_found(_seen: Seen, context: Context) -> None:
    await context.abort(StatusCode.NOT_FOUND, "no such file")


async def hang(seen: Seen, context: Context) -> None:
    async for each in requests(seen, context):
        await context.write(each)


def stream(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(OTHER)
    return method(timeout=60)


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[RawUpstream, ProxyProcess, grpc.aio.Channel]]:
    async with RawUpstream() as upstream, ProxyProcess(MEDIA_SERVICE_ADDR=upstream.address) as proxy:
        async with grpc.aio.insecure_channel(proxy.addr) as channel:
            yield upstream, proxy, channel


async def counted(proxy: ProxyProcess, family: str, method: str, code: str) -> float:
    return await proxy.metric(f'{family}_count{{rpc_method="{method}",rpc_status_code="{code}"}}')


@pytest.mark.usefixtures("each_transport")
@pytest.mark.parametrize(("method", "label"), [(KNOWN, "media.MediaService/GetFileURL"), (OTHER, "_OTHER")])
async def test_forwarded_calls_are_counted_by_their_grpc_status(method: str, label: str) -> None:
    async with counting() as (upstream, proxy, channel):
        for _ in range(3):
            assert (await status_of(unary(channel, method, b"x")))[0] is StatusCode.OK
        upstream.behaviours[method] = not_found
        for _ in range(2):
            assert (await status_of(unary(channel, method, b"x")))[0] is StatusCode.NOT_FOUND
        await upstream.stop()

        async def away() -> bool:
            return (await status_of(unary(channel, method, b"x", timeout=5)))[0] is StatusCode.UNAVAILABLE

        assert await away()
        for family in (SERVER, CLIENT):
            assert await counted(proxy, family, label, "OK") == 3
            assert await counted(proxy, family, label, "NOT_FOUND") == 2
            assert await counted(proxy, family, label, "UNAVAILABLE") == 1


@pytest.mark.usefixtures("each_transport")
async def test_a_call_of_the_core_is_counted_once() -> None:
    async with counting() as (_, proxy, channel):
        assert (await status_of(unary(channel, READ, b"\x0a\x04User")))[0] is StatusCode.OK
        for family in (SERVER, CLIENT):
            assert await counted(proxy, family, "media.MediaService/GetFilesByModel", "OK") == 1
            assert await counted(proxy, family, "_OTHER", "OK") == 0
        assert await proxy.metric('media_cache_calls_total{method="GetFilesByModel",status="OK"}') == 1


@pytest.mark.usefixtures("each_transport")
async def test_a_call_that_its_caller_gave_up_is_cancelled() -> None:
    async with counting() as (upstream, proxy, channel):
        upstream.behaviours[OTHER] = hang
        call = stream(channel)
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()

        async def seen() -> bool:
            return await counted(proxy, SERVER, "_OTHER", "CANCELLED") == 1

        await until(seen, "the cancelled call to be counted")


async def test_a_call_that_was_broken_off_after_its_headers_is_internal() -> None:
    async with RawMedia(reset_after_headers(2)).serving() as media:
        given = {"TRANSPORT": "envoy", "MEDIA_SERVICE_ADDR": f"127.0.0.1:{media.port}"}
        async with ProxyProcess(**given) as proxy, grpc.aio.insecure_channel(proxy.addr) as channel:
            assert (await status_of(unary(channel, OTHER, b"x")))[0] is StatusCode.INTERNAL
            assert await counted(proxy, CLIENT, "_OTHER", "INTERNAL") == 1


async def test_refused_calls_and_our_own_methods_did_not_go_upstream() -> None:
    async with counting_with_one_call() as (proxy, channel):
        held = stream(channel)
        await held.write(b"x")
        await held.read()
        assert (await status_of(unary(channel, OTHER, b"x")))[0] is StatusCode.RESOURCE_EXHAUSTED
        await status_of(unary(channel, "/grpc.health.v1.Health/Check"))
        assert await counted(proxy, SERVER, "_OTHER", "RESOURCE_EXHAUSTED") == 1
        assert await counted(proxy, CLIENT, "_OTHER", "RESOURCE_EXHAUSTED") == 0
        assert await counted(proxy, SERVER, "_OTHER", "OK") == 0
        held.cancel()


@asynccontextmanager
async def counting_with_one_call() -> AsyncIterator[tuple[ProxyProcess, grpc.aio.Channel]]:
    async with RawUpstream() as upstream:
        given = {"TRANSPORT": "envoy", "MEDIA_SERVICE_ADDR": upstream.address, "MAX_CONCURRENT_CALLS": "1"}
        async with ProxyProcess(**given) as proxy, grpc.aio.insecure_channel(proxy.addr) as channel:
            yield proxy, channel


def test_only_what_is_new_is_told() -> None:
    def shown(first: int, all_: int, total: float) -> str:
        tags = 'method="GetFileURL",code="0",flags="-"'
        lines = [
            "# TYPE envoy_callers_ended_durations histogram",
            f'envoy_callers_ended_durations_bucket{{{tags},le="1"}} {first}',
            f'envoy_callers_ended_durations_bucket{{{tags},le="25"}} {all_}',
            f'envoy_callers_ended_durations_bucket{{{tags},le="+Inf"}} {all_}',
            f"envoy_callers_ended_durations_sum{{{tags}}} {total}",
            f"envoy_callers_ended_durations_count{{{tags}}} {all_}",
            "envoy_other{} 1",
        ]
        return "\n".join(lines) + "\n"

    metrics = media_metrics()
    calls = ForwardedCalls(metrics)
    labels = {
        "rpc_system_name": "grpc",
        "rpc_method": "media.MediaService/GetFileURL",
        "rpc_status_code": "OK",
        "error_type": "",
    }
    for times in (shown(2, 3, 20.0), shown(2, 3, 20.0), shown(2, 5, 60.0)):
        assert calls.tell(times) == "envoy_other{} 1\n"
    for family in (SERVER, CLIENT):
        value = metrics.registry.get_sample_value
        assert value(f"{family}_count", labels) == 5
        assert value(f"{family}_bucket", {**labels, "le": "0.001"}) == 2
        assert value(f"{family}_bucket", {**labels, "le": "0.025"}) == 5
        assert value(f"{family}_sum", labels) == pytest.approx(0.06)
