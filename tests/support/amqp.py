"""Shared by the tests of the event consumer: a fake cache that records and holds, a fake observer, a publisher."""

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from proxy.amqp.deliveries import Outcome
from proxy.calls.tags import UNDESCRIBED, Description
from proxy.policy.builtin.model import Model
from tests.support.media_events import EXCHANGE
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


@dataclass(frozen=True, slots=True)
class Invalidation:
    """One call of `invalidate` that has returned."""

    model: Model
    source: str
    collection: str
    sent_at: float | None


@dataclass(slots=True)
class FakeInvalidator:
    """A fake cache that holds chosen invalidations, as if Redis were away, and records the others."""

    invalidations: list[Invalidation] = field(default_factory=list)
    flushes: list[str] = field(default_factory=list)
    """The reasons of the flushes that were done."""
    begun: int = 0
    """Invalidations begun so far."""
    flushes_begun: int = 0
    failures: int = 0
    """Number of coming calls that raise."""
    held: set[int] = field(default_factory=set)
    """Ids of models that are held."""
    all_open: asyncio.Event = field(default_factory=asyncio.Event)
    flush_open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.all_open.set()
        self.flush_open.set()

    async def invalidate(
        self, tag: str, *, source: str, about: Description = UNDESCRIBED, sent_at: float | None = None
    ) -> None:
        model, collection = Model(tag), str(about.fields.get("collection", ""))
        self.begun += 1
        self._fail()
        await self.all_open.wait()
        await until(lambda: model.id not in self.held, f"model {model} to be let go", timeout=100)
        self.invalidations.append(Invalidation(model, source, collection, sent_at))

    async def flush_in_time(self, reason: str, service: str = "") -> None:
        await self.flush(reason)

    async def flush(self, reason: str) -> None:
        self.flushes_begun += 1
        self._fail()
        await self.flush_open.wait()
        self.flushes.append(reason)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("broken on purpose")

    @property
    def ids(self) -> list[int]:
        """The ids of the invalidated models, in order."""
        return [each.model.id for each in self.invalidations]

    async def applied(self, *ids: int) -> None:
        """Waits until models with these ids were invalidated."""
        await until(lambda: set(ids) <= set(self.ids), f"{ids} to be invalidated")

    async def flushed(self, count: int) -> None:
        """Waits until `count` flushes are done in total."""
        await until(lambda: len(self.flushes) >= count, f"{count} flushes")


@dataclass(slots=True)
class FakeObserver:
    """Records what is counted."""

    events: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    ups: list[bool] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)

    def event(self, kind: str, outcome: Outcome) -> None:
        self.events[kind, outcome] += 1

    def dependency(self, name: str, *, up: bool) -> None:
        assert name == "rabbitmq"
        self.ups.append(up)

    def events_missing(self, missing: bool) -> None:
        self.missing.append(missing)

    @property
    def up(self) -> bool:
        return bool(self.ups) and self.ups[-1]


def body_of(model_id: int, model_type: str = "user", **more: Any) -> bytes:
    """An event's body as the publishers write it today."""
    fields = {"media_id": 1, "uuid": "u", "model_type": model_type, "model_id": model_id, "collection_name": "avatar"}
    data = base64.b64encode(json.dumps({**fields, **more}).encode()).decode()
    return json.dumps({"ownerId": "1", "data": data}).encode()


class Publisher:
    """Publishes like the media service: a message that no queue receives is lost."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel

    async def raw(self, body: bytes, key: str = "media.event.uploaded", **properties: Any) -> None:
        """Publishes any body; returns once the broker has it on every queue bound to the key."""
        exchange = await self.channel.get_exchange(EXCHANGE, ensure=False)
        message = aio_pika.Message(
            body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties
        )
        await exchange.publish(message, key, mandatory=False)

    async def event(self, *ids: int, kind: str = "uploaded", **properties: Any) -> None:
        """Publishes one event per id."""
        for model_id in ids:
            await self.raw(body_of(model_id), f"media.event.{kind}", **properties)


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publisher]:
    """A publisher on its own connection; it has declared the exchange, as the media service does."""
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        yield Publisher(channel)
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as the broker reports it."""

    ready: int
    unacknowledged: int
    consumers: int
    durable: bool
    arguments: str
    """An Erlang term, as text."""


async def queues(rabbit: RabbitServer, url: str) -> dict[str, QueueState]:
    """Every queue of a virtual host, by name."""
    vhost = url.rpartition("/")[2].partition("?")[0]
    keys = "messages_ready, messages_unacknowledged, consumers, durable, arguments"
    answer = await rabbit.eval(
        f'[lists:flatten(io_lib:format("~s ~b ~b ~b ~s ~w", [element(4, proplists:get_value(name, Info)) | '
        f"[proplists:get_value(Key, Info) || Key <- [{keys}]]])) || "
        f'Info <- rabbit_amqqueue:info_all(<<"{vhost}">>, [name, {keys}])].'
    )
    found = re.findall(r'"(\S+) (\d+) (\d+) (\d+) (\w+) ([^"]*)"', answer)
    return {
        name: QueueState(int(ready), int(unacknowledged), int(consumers), durable == "true", arguments)
        for name, ready, unacknowledged, consumers, durable, arguments in found
    }


@asynccontextmanager
async def consuming_beside(url: str, queue: str = "api-gateway-media-cache-uploaded") -> AsyncIterator[list[bytes]]:
    """A foreign consumer of one of the proxy's queues; the list grows with the messages that it takes."""
    taken: list[bytes] = []

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        taken.append(message.body)
        await message.ack()

    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        await (await channel.get_queue(queue)).consume(take)
        yield taken
    finally:
        await connection.close()
