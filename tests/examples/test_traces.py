"""The examples' spans: with the proxy's in between they are one trace, from the gateway to the media service."""

from pathlib import Path

import aiohttp
import pytest

from examples.gateway import server as gateway
from examples.gateway.settings import GatewaySettings
from examples.media_service import server as media
from examples.media_service.settings import MediaSettings
from examples.traces import client_spans, server_spans, tracing
from tests.support.servers.otlp import Collector
from tests.support.servers.redis import RedisServer
from tests.support.traces import traced

QUERY = {"query": '{ user(id: "1") { avatar { uuid } } }'}
READ = "media.MediaService/GetFilesByModel"


async def test_a_query_is_one_trace_from_the_gateway_to_the_media_service(
    redis: RedisServer, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    given = {
        "LISTEN_ADDR": "127.0.0.1:0",
        "RABBITMQ_ADDR": "",
        "SEED": "1",
        "DATA_DIR": str(tmp_path),
        "LATENCY": "1ms",
    }
    with tracing("media-service") as server_tracer, tracing("api-gateway") as client_tracer:
        async with (
            media.running(MediaSettings.read(given), server_tracer) as service,
            traced(collector, REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=service.address) as proxy,
            gateway.running(
                GatewaySettings.read({"GATEWAY_ADDR": "127.0.0.1:0", "MEDIA_SERVICE_ADDR": proxy.addr}), client_tracer
            ) as bound,
            aiohttp.ClientSession() as http,
            http.post(f"http://{bound}/query", json=QUERY) as answer,
        ):
            assert "errors" not in await answer.json()
            # Inside: what is left at the end is sent while this event loop, the collector's too, waits.
            [asked] = await collector.has("POST /query", "SERVER")
            servers = await collector.has(READ, "SERVER", times=2)
            clients = await collector.has(READ, "CLIENT", times=2)
    spans = {span.span_id: span for span in (asked, *servers, *clients)}
    assert {span.trace_id for span in spans.values()} == {asked.trace_id}
    span = next(span for span in servers if span.service == "media-service")
    way = [span.service]
    while span.parent in spans:
        span = spans[span.parent]
        way.append(span.service)
    assert way == ["media-service", *["media-cache-proxy"] * 2, *["api-gateway"] * 2]


def test_without_a_collector_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with tracing("anything") as tracer:
        assert tracer is None
        assert [*client_spans(tracer), *server_spans(tracer)] == []
