"""Traces over the wire: a caller, the proxy as a process, a real Redis, a collector: the trees of calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.calling import Gateway
from tests.support.raw_upstream import RawUpstream, all_of
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.traces import CALLER, PARENT, READ, TRACE, at, names_span, rpc, traced

REDIS = {"db.system.name": "redis", "db.namespace": "0"}
ASKED = ["CLIENT HGET", "CLIENT EVALSHA acquire"]
MISS = [*ASKED, f"CLIENT {READ}", "CLIENT PIPELINE"]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    async with FakeMediaServer() as server:
        server.media.add("User", 1)
        yield server


async def test_the_trees_of_a_miss_and_a_hit(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert [(await gateway.read(metadata=CALLER)).x_cache for _ in range(2)] == ["miss", "hit"]
        miss, hit = await collector.has(READ, "SERVER", times=2)
        [filled] = await collector.has("PIPELINE", "CLIENT")
    cache = {"media_cache.model_type": "user"}
    assert miss.attributes == rpc(READ, proxy.addr) | cache | {"media_cache.result": "miss"}
    assert hit.attributes == rpc(READ, proxy.addr) | cache | {"media_cache.result": "hit", "media_cache.tier": "redis"}
    assert [(span.trace_id, span.parent) for span in (miss, hit)] == [(TRACE, PARENT)] * 2
    assert collector.children(miss) == MISS
    assert collector.children(hit) == ["CLIENT HGET"]
    [asked] = collector.named(READ, "CLIENT")
    assert asked.attributes == rpc(READ, upstream.addr)
    [acquired] = collector.named("EVALSHA acquire")
    script = {"db.operation.name": "EVALSHA", "db.stored_procedure.name": "acquire"}
    assert acquired.attributes == REDIS | script | at(redis.addr)
    # The answer, and whose the one file in it is.
    assert filled.attributes == REDIS | {"db.operation.name": "PIPELINE", "db.operation.batch.size": 2} | at(redis.addr)
    assert collector.named("HGET")[0].attributes == REDIS | {"db.operation.name": "HGET"} | at(redis.addr)
    assert {(span.error, span.links, span.service) for span in collector.spans} == {(False, (), "media-cache-proxy")}
    [call] = upstream.media.calls
    [traceparent] = [value for key, value in call.metadata if key == "traceparent"]
    assert names_span(traceparent, asked)


async def test_waiters_of_a_shared_fetch_link_to_its_leader(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    gate = upstream.media.hold("GetFilesByModel")
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            reads = [asyncio.create_task(gateway.read()) for _ in range(3)]
            await gate.reached()
            await collector.has("EVALSHA acquire", times=3)
            gate.open()
            await asyncio.gather(*reads)
        spans = await collector.has(READ, "SERVER", times=3)
        await collector.has("PIPELINE")
    [leader] = [span for span in spans if span.attributes["media_cache.result"] == "miss"]
    waiters = [span for span in spans if span is not leader]
    assert leader.links == ()
    assert collector.children(leader) == MISS
    assert [span.attributes["media_cache.result"] for span in waiters] == ["coalesced"] * 2
    assert [span.links for span in waiters] == [((leader.trace_id, leader.span_id),)] * 2
    assert [collector.children(span) for span in waiters] == [ASKED] * 2
    assert len({span.trace_id for span in spans}) == 3


async def test_a_write_of_our_own_is_one_tree_with_both_invalidations(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.upload()
        [upload] = await collector.has("media.MediaService/UploadFile", "SERVER")
    invalidation = "CLIENT EVALSHA invalidate"
    assert collector.children(upload) == [invalidation, "CLIENT media.MediaService/UploadFile", invalidation]
    about = {"media_cache.model_type": "user"}
    assert upload.attributes == rpc("media.MediaService/UploadFile", proxy.addr) | about


async def test_a_refresh_behind_a_stale_answer_is_a_trace_of_its_own_linked_to_the_read(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    settings = {"CACHE_TTL": "100ms", "CACHE_STALE_WHILE_REVALIDATE": "1m"}
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **settings) as proxy:
        async with Gateway(proxy.addr) as gateway:
            while (await gateway.read()).x_cache != "stale":
                pass
        [refresh, *_] = await collector.has("media_cache.refresh", "INTERNAL")
        await until(lambda: "CLIENT PIPELINE" in collector.children(refresh), "the fill")
    [read] = [span for span in collector.spans if span.attributes.get("media_cache.result") == "stale"]
    assert (refresh.parent, refresh.links) == ("", ((read.trace_id, read.span_id),))
    assert refresh.trace_id != read.trace_id
    assert refresh.attributes == {"media_cache.model_type": "user"}
    assert collector.children(refresh) == ["CLIENT EVALSHA acquire", f"CLIENT {READ}", "CLIENT PIPELINE"]
    assert collector.children(read) == ["CLIENT HGET"]


@pytest.mark.parametrize(("code", "at_the_server"), [("UNAVAILABLE", True), ("PERMISSION_DENIED", False)])
async def test_a_status_is_an_error_to_the_client_and_some_are_the_servers(
    upstream: FakeMediaServer, collector: Collector, code: str, at_the_server: bool
) -> None:
    upstream.media.fail("GetFilesByModel", grpc.StatusCode[code], "the password is swordfish")
    async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr) as proxy, Gateway(proxy.addr) as gateway:
        with pytest.raises(grpc.aio.AioRpcError):
            await gateway.read()
        [server] = await collector.has(READ, "SERVER")
    [client] = collector.named(READ, "CLIENT")
    assert client.error
    assert client.attributes == rpc(READ, upstream.addr, code) | {"error.type": code}
    assert (server.error, server.attributes.get("error.type")) == (at_the_server, code if at_the_server else None)
    assert server.attributes["rpc.status_code"] == code


async def test_a_caller_who_goes_away_leaves_a_cancelled_call(upstream: FakeMediaServer, collector: Collector) -> None:
    gate = upstream.media.hold("GetFilesByModel")
    async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr) as proxy, Gateway(proxy.addr) as gateway:
        read = asyncio.create_task(gateway.read())
        await gate.reached()
        read.cancel()
        [server] = await collector.has(READ, "SERVER")
    [client] = collector.named(READ, "CLIENT")
    assert [span.attributes["rpc.status_code"] for span in (client, server)] == ["CANCELLED"] * 2
    assert (client.error, server.error) == (True, False)


def straight(collector: Collector, upstream: str) -> AbstractAsyncContextManager[ProxyProcess]:
    """Not with Envoy, which forwards such calls by itself, and without a span."""
    return traced(collector, MEDIA_SERVICE_ADDR=upstream, TRANSPORT="grpcio")


async def test_what_is_forwarded_as_a_stream_is_traced_and_health_checks_are_not(collector: Collector) -> None:
    async with RawUpstream() as upstream, straight(collector, upstream.address) as proxy:
        async with grpc.aio.insecure_channel(proxy.addr) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            chat: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/any.Service/Chat")
            call = chat(metadata=CALLER)
            await call.write(b"one")
            await call.done_writing()
            assert await all_of(call) == [b"one"]
        [server] = await collector.has("grpc", "SERVER")
        proxy.terminate()
        assert await proxy.exited() == 0
    [client] = collector.named("grpc", "CLIENT")
    unknown = {"rpc.method_original": "any.Service/Chat"}
    assert server.attributes == rpc("_OTHER", proxy.addr) | unknown
    assert client.attributes == rpc("_OTHER", upstream.address) | unknown
    assert (server.trace_id, server.parent, client.parent) == (TRACE, PARENT, server.span_id)
    [seen] = upstream.seen
    assert [names_span(value, client) for key, value in seen.metadata if key == "traceparent"] == [True]
    assert collector.spans == [client, server]
