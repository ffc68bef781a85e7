"""How a trace goes on through the proxy process: in which metadata, when it is sampled, and when tracing is off."""

import json

import grpc
import grpc.aio
import pytest

from proxy.pb import media_pb2 as pb
from tests.support.calling import Gateway
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.traces import CALLER, PARENT, READ, TRACE, TRACEPARENT, traced


def _sent(upstream: FakeMediaServer) -> dict[str, str | bytes]:
    """The metadata that upstream got with its last call, but for the channel's own; no key comes twice."""
    pairs = [pair for pair in upstream.media.calls[-1].metadata if pair[0] != "user-agent"]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


async def test_off_the_callers_trace_metadata_passes_unchanged(redis: RedisServer, upstream: FakeMediaServer) -> None:
    theirs = {
        "traceparent": TRACEPARENT,
        "tracestate": "a=1 , b=2",
        "baggage": "k=v;p",
        "b3": "0",
        "uber-trace-id": "x",
    }
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "LOG_LEVEL": "debug"}
    async with ProxyProcess(**settings, OTEL_PROPAGATORS="nonsense") as proxy, Gateway(proxy.addr) as gateway:
        await gateway.read(metadata=tuple(theirs.items()))
        assert _sent(upstream) == theirs
        [line] = await proxy.logged("Cache miss")
        assert "trace_id" not in json.loads(line)


async def test_w3c_by_default_and_only_what_is_ours_is_replaced(
    upstream: FakeMediaServer, collector: Collector
) -> None:
    theirs = {"tracestate": "a=1,b=2", "baggage": "k=v;p, not baggage", "b3": "0", "authorization": "Bearer x"}
    async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr) as proxy, Gateway(proxy.addr) as gateway:
        await gateway.read(metadata=(*CALLER, *theirs.items()))
        [client] = await collector.has(READ, "CLIENT")
    assert _sent(upstream) == theirs | {"traceparent": f"00-{TRACE}-{client.span_id}-01"}


@pytest.mark.parametrize(
    ("propagators", "theirs", "ours"),
    [
        ("b3", {"b3": f"{TRACE}-{PARENT}-1"}, {"b3": f"{TRACE}-SPAN-1"}),
        ("b3", {"x-b3-traceid": TRACE, "x-b3-spanid": PARENT, "x-b3-sampled": "1"}, {"b3": f"{TRACE}-SPAN-1"}),
        (
            "baggage,b3multi",
            {"b3": f"{TRACE}-{PARENT}-1"},
            {"x-b3-traceid": TRACE, "x-b3-spanid": "SPAN", "x-b3-sampled": "1"},
        ),
        (
            "jaeger",
            {"uber-trace-id": f"{TRACE}:{PARENT}:0:1", "uberctx-k": "v"},
            {"uber-trace-id": f"{TRACE}:SPAN:PARENT:03", "uberctx-k": "v"},
        ),
        ("tracecontext,b3", dict(CALLER), {"traceparent": f"00-{TRACE}-SPAN-01", "b3": f"{TRACE}-SPAN-1"}),
    ],
)
async def test_other_propagators_both_ways(
    upstream: FakeMediaServer, collector: Collector, propagators: str, theirs: dict[str, str], ours: dict[str, str]
) -> None:
    async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr, OTEL_PROPAGATORS=propagators) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.read(metadata=tuple(theirs.items()))
        [server] = await collector.has(READ, "SERVER")
    assert (server.trace_id, server.parent) == (TRACE, PARENT)
    [client] = collector.named(READ, "CLIENT")
    expected = {key: value.replace("PARENT", server.span_id) for key, value in ours.items()}
    assert {key: str(value).replace(client.span_id, "SPAN") for key, value in _sent(upstream).items()} == expected


async def test_with_b3_alone_a_traceparent_is_not_ours_to_read(upstream: FakeMediaServer, collector: Collector) -> None:
    async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr, OTEL_PROPAGATORS="b3") as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.read(metadata=CALLER)
        [server] = await collector.has(READ, "SERVER")
    assert server.parent == ""
    assert _sent(upstream)["traceparent"] == TRACEPARENT


async def test_a_call_that_its_caller_does_not_sample_passes_as_if_tracing_were_off(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    theirs = {"traceparent": f"00-{TRACE}-{PARENT}-00", "tracestate": "a=1 , b=2"}
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.read(metadata=tuple(theirs.items()))
            assert _sent(upstream) == theirs
            await gateway.read(model_id=2, metadata=CALLER)
            [sampled] = await collector.has(READ, "SERVER")
    assert {span.parent for span in collector.spans} == {PARENT, sampled.span_id}


async def test_a_call_that_we_do_not_sample_makes_no_span_and_upstream_is_told(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    never = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0", "LOG_LEVEL": "debug"}
    async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **never) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.read()
            _, trace_id, _, flags = str(_sent(upstream)["traceparent"]).split("-")
            assert int(flags, 16) & 1 == 0
            [line] = await proxy.logged("Cache miss")
            assert json.loads(line)["trace_id"] == trace_id
            await gateway.read(model_id=2, metadata=CALLER)
            await collector.has(READ, "SERVER")
    assert {span.trace_id for span in collector.spans} == {TRACE}


async def test_the_log_lines_of_a_call_name_its_span(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector
) -> None:
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "LOG_LEVEL": "debug"}
    async with traced(collector, **settings) as proxy, Gateway(proxy.addr) as gateway:
        await gateway.read()
        await gateway.read()
        lines = [*await proxy.logged("Cache miss"), *await proxy.logged("Cache hit")]
        spans = await collector.has(READ, "SERVER", times=2)
    logged = [json.loads(line) for line in lines]
    assert [(line["trace_id"], line["span_id"]) for line in logged] == [(s.trace_id, s.span_id) for s in spans]


async def test_no_secret_is_in_any_span(redis: RedisServer, upstream: FakeMediaServer, collector: Collector) -> None:
    """Request metadata, file names, contents, presigned URLs, texts of errors, the password of Redis."""
    await redis.cli("ACL", "SETUSER", "tester", "on", ">canary-1", "~*", "&*", "+@all")
    settings = {"REDIS_ADDR": f"redis://tester:canary-1@{redis.addr}", "MEDIA_SERVICE_ADDR": upstream.addr}
    secret = (("authorization", "Bearer canary-2"), ("cookie", "canary-3"), *CALLER)
    upstream.media.add("User", 1, file_name="canary-4.jpg")
    upstream.media.trailing_metadata = (("x", "canary-5"),)
    async with traced(collector, **settings) as proxy, Gateway(proxy.addr) as gateway:
        read = await gateway.read(metadata=secret)
        assert "X-Amz-Signature" in read.response.data.media[0].presigned_url
        assert (await gateway.read(metadata=secret)).x_cache == "hit"
        upload = pb.UploadFileRequest(content=b"canary-6", model_type="User", model_id=1, file_name="canary-7")
        await gateway.stub.UploadFile(upload, metadata=secret)
        await gateway.stub.DeleteFile(pb.DeleteFileRequest(id=1), metadata=secret)
        upstream.media.fail("GetFilesByModel", grpc.StatusCode.INTERNAL, "at https://x/?X-Amz-Signature=canary-8")
        with pytest.raises(grpc.aio.AioRpcError):
            await gateway.read(metadata=secret)
        await collector.has(READ, "SERVER", times=3)
        await collector.has("media.MediaService/DeleteFile", "SERVER")
    exported = str([resource for request in collector.requests for resource in request.resource_spans])
    assert [word for word in ("canary", "Amz", "Bearer", "avatars", "signature") if word in exported] == []
    assert "canary" not in str(collector.metadata)
