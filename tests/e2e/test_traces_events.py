"""Traces of events: through a real broker to a proxy process, from the publisher's span to the invalidation's."""

import json
from collections.abc import AsyncIterator

import aio_pika
import pytest

from tests.support.calling import Gateway, publish
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.traces import CALLER, PARENT, TRACE, traced

QUEUE = "api-gateway-media-cache-uploaded"
PROCESS = f"process {QUEUE}"


@pytest.fixture
async def url(rabbit: RabbitServer) -> str:
    return await rabbit.vhost()


@pytest.fixture
async def proxy(redis: RedisServer, url: str, collector: Collector) -> AsyncIterator[ProxyProcess]:
    async with FakeMediaServer() as upstream:
        settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
        async with traced(collector, LOG_LEVEL="debug", **settings) as proxy:
            await proxy.logged("consuming media events")
            yield proxy


async def test_an_event_is_linked_to_its_publisher_and_its_invalidation_is_below_it(
    proxy: ProxyProcess, rabbit: RabbitServer, url: str, collector: Collector
) -> None:
    await publish(url, 1, headers=dict(CALLER))
    [event] = await collector.has(PROCESS, "CONSUMER")
    assert (event.parent, event.links) == ("", ((TRACE, PARENT),))
    assert event.trace_id != TRACE
    assert event.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"damar.events:media.event.uploaded:{QUEUE}",
        "rabbitmq.destination.routing_key": "media.event.uploaded",
        "media_cache.model_type": "user",
        "server.address": "127.0.0.1",
        "server.port": rabbit.port,
    }
    assert not event.error
    assert collector.children(event) == ["CLIENT EVALSHA invalidate"]
    [line] = await proxy.logged("Invalidated user avatar cache")
    logged = json.loads(line)
    assert (logged["trace_id"], logged["span_id"]) == (event.trace_id, event.span_id)


async def test_an_event_of_a_publisher_that_is_not_traced_has_no_link(
    proxy: ProxyProcess, url: str, collector: Collector
) -> None:
    async with Gateway(proxy.addr) as gateway:  # nor does it become part of a call's trace
        await gateway.read(metadata=CALLER)
    await publish(url, 1)
    [event] = await collector.has(PROCESS)
    assert (event.parent, event.links) == ("", ())
    assert event.trace_id != TRACE


async def test_a_malformed_event_is_an_error_without_its_payload(
    proxy: ProxyProcess, url: str, collector: Collector
) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        exchange = await (await connection.channel()).get_exchange("damar.events")
        # A header need not be text, and its name may be anything.
        headers: aio_pika.abc.HeadersType = {"traceparent": 5, "Ünknown": bytearray(b"\xff"), "x": None}
        await exchange.publish(aio_pika.Message(b"swordfish", headers=headers), routing_key="media.event.uploaded")
    [event] = await collector.has(PROCESS)
    assert event.error
    assert event.attributes["error.type"] == "envelope"
    assert "media_cache.model_type" not in event.attributes
    assert collector.children(event) == []
    assert "swordfish" not in str(collector.requests)
