"""Abuse by events: a body of 100 MB, extremely nested JSON, values of wrong types."""

import base64
import json

import aio_pika

from tests.abuse.scene import Scene
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

_APPLIED = 'media_cache_events_total{outcome="applied"}'
_DROPPED = 'media_cache_events_total{outcome="malformed"}'
_OVERSIZE = 'media_cache_events_total{outcome="oversize"}'


def envelope(data: object) -> bytes:
    return json.dumps({"ownerId": "1", "data": data}).encode()


def wrong_types() -> list[bytes]:
    """Bodies that name no model, or name it in a wrong form."""
    good = {"model_type": "user", "model_id": 1}
    odd = [None, True, [], {}, "", 1.5, -1, 1 << 64, "1e5", [1], {"a": 1}, "9" * 5000]
    types = [{**good, "model_type": value} for value in odd if value != "1e5" and not isinstance(value, str)]
    ids = [{**good, "model_id": value} for value in odd if value != -1]
    bodies = [envelope(each) for each in (*types, *ids)]
    encoded = [envelope(base64.b64encode(json.dumps(each).encode()).decode()) for each in (*types, *ids)]
    return [*bodies, *encoded, *(envelope(value) for value in odd), b"", b"[]", b"null", b"\xff\xfe", b'{"data":']


def nested() -> list[bytes]:
    """Nested bodies, up to the largest size that is parsed."""
    deep = 500_000
    return [
        b"[" * deep,
        b'{"a":' * (deep // 5),
        envelope("[" * (deep // 2)),
        envelope('{"a":' * (deep // 10)),
        envelope(base64.b64encode(b'{"model_id":' + b"[" * (deep // 2)).decode()),
    ]


async def test_events_that_are_huge_nested_or_of_wrong_types(redis: RedisServer, rabbit: RabbitServer) -> None:
    """The defences: the size is checked first (`MAX_BODY_BYTES`), and events that name no model are dropped."""
    url = await rabbit.vhost()
    async with Scene(redis.addr, RABBITMQ_ADDR=url) as scene, scene.abused() as figures:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange("damar.events")
            bad = [*wrong_types(), *nested()]
            for body in (bytes(100_000_000), *bad, envelope({"model_type": "user", "model_id": 1})):
                await exchange.publish(aio_pika.Message(body), routing_key="media.event.uploaded")
        await until(lambda: scene.metric(_APPLIED), "the event behind them to be applied")
        assert await scene.metric(_DROPPED) == len(bad)
        assert await scene.metric(_OVERSIZE) == 1
    figures.check(most_mib=480)  # seen: 402 to 422 inside Envoy, 160 with grpcio
