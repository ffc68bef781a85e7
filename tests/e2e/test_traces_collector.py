"""The collector away, slow or back: calls do not notice, and the log says it once."""

import json

import pytest

from tests.support.calling import Gateway
from tests.support.servers.otlp import Collector, HttpCollector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.traces import CALLER, PARENT, READ, TRACE, traced

LOSES, BACK = "the trace collector loses spans", "the trace collector is back"


@pytest.mark.parametrize(
    ("collector", "protocol", "why"),
    [(Collector(), "grpc", "UNAVAILABLE"), (HttpCollector(), "http/protobuf", "onnection refused")],
)
async def test_a_collector_that_is_away_is_one_warning_and_one_line_when_it_is_back(
    redis: RedisServer, upstream: FakeMediaServer, collector: Collector, protocol: str, why: str
) -> None:
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "OTEL_EXPORTER_OTLP_TIMEOUT": "3"}
    settings["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    async with traced(collector, **settings) as proxy, Gateway(proxy.addr) as gateway:
        assert await gateway.x_cache() == "miss"
        [line] = await proxy.logged(LOSES)
        warned = json.loads(line)
        assert warned["level"] == "warning"
        assert why in warned["msg"]
        assert warned["endpoint"] == collector.endpoint
        async with collector:
            while not collector.spans:
                assert await gateway.x_cache() == "hit"
            [line] = await proxy.logged(BACK)
        back = json.loads(line)
        assert back["level"] == "info"
        assert back["spans_lost"] >= warned["spans_lost"] > 0
        assert [LOSES in line or BACK in line for line in proxy.lines].count(True) == 2
        assert not [line for line in proxy.lines if "opentelemetry" in line or "urllib3" in line]


async def test_over_http_the_same_spans_arrive(redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with HttpCollector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20swordfish",
            "OTEL_SERVICE_NAME": "cache-eu",
        }
        async with traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **settings) as proxy:
            async with Gateway(proxy.addr) as gateway:
                assert [(await gateway.read(metadata=CALLER)).x_cache for _ in range(2)] == ["miss", "hit"]
            miss, hit = await collector.has(READ, "SERVER", times=2)
            assert "swordfish" not in "".join(proxy.lines)
    assert {(span.trace_id, span.parent, span.service) for span in (miss, hit)} == {(TRACE, PARENT, "cache-eu")}
    assert collector.children(hit) == ["CLIENT HGET"]
    assert ("authorization", "Bearer swordfish") in collector.metadata


async def test_nothing_waits_for_a_collector_that_does_not_answer(
    redis: RedisServer, upstream: FakeMediaServer
) -> None:
    """Not the calls, and not the end of the proxy: for two seconds at most."""
    async with Collector() as collector, FaultyTcp(collector.port) as tcp:
        tcp.swallow = True
        settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "OTEL_BSP_MAX_QUEUE_SIZE": "600"}
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{tcp.addr}", "OTEL_BSP_SCHEDULE_DELAY": "20"}
        async with ProxyProcess(**exporting, **settings) as proxy, Gateway(proxy.addr) as gateway:
            await gateway.read()
            await tcp.connected(1)
            for _ in range(500):  # two spans each: more than there is room for
                assert await gateway.x_cache() == "hit"
            proxy.terminate()
            assert await proxy.exited(timeout=10) == 0
            assert [line for line in proxy.lines if "spans that the collector has not taken" in line]


async def test_the_last_spans_are_sent_before_the_proxy_ends(upstream: FakeMediaServer) -> None:
    async with Collector() as collector:
        async with traced(collector, MEDIA_SERVICE_ADDR=upstream.addr, OTEL_BSP_SCHEDULE_DELAY="60000") as proxy:
            async with Gateway(proxy.addr) as gateway:
                await gateway.read()
            proxy.terminate()
            assert await proxy.exited() == 0
        assert [span.kind for span in collector.named(READ)] == ["CLIENT", "SERVER"]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317", "http://host:4317"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "a whole number from 1 to 2147483647"),
    ],
)
async def test_a_variable_that_is_not_understood_ends_the_start_with_one_line(
    name: str, value: str, accepted: str
) -> None:
    proxy = ProxyProcess(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", name: value})
    try:
        proxy.child.spawn()
        assert await proxy.exited() == 2
        [line] = proxy.lines
        assert line.startswith(f"media-cache-proxy: {name}: '{value}' ")
        assert accepted in line
    finally:
        proxy.remove()
