"""`World`: caching cores of several proxies on one real Redis, with a gated origin that stamps its answers.

Everything that a schedule does is a method here, and every outcome is reported to the `Checker`. Only the origin, the
broker's side of a message, and the clocks are simulated.
"""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from aio_pika.abc import AbstractIncomingMessage

from proxy.amqp.consumer import EventConsumer
from proxy.amqp.deliveries import Deliveries
from proxy.amqp.duty import Able
from proxy.caching.cache import Cache
from proxy.caching.invalidations import Invalidations
from proxy.caching.methods import Methods
from proxy.caching.own_writes import OwnWrites
from proxy.caching.policy import Policy
from proxy.calls.call import Call
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys
from proxy.policy import compiled
from proxy.settings.setting_types import RedisAddr
from proxy.store.event_record import EventRecord
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from proxy.telemetry.metrics import Metrics
from tests.consistency.checker import Checker, Question
from tests.consistency.clock import Clock
from tests.consistency.gated_origin import Origin
from tests.consistency.scenes import MediaScene, Scene, encoded
from tests.support.servers.waiting import until

TTL = 600.0
WITHOUT_EVENTS = 0.2
_NO_END = 1e9  # seconds, so that a slow machine decides nothing


@dataclass(frozen=True, slots=True)
class Process:
    """The core of one proxy."""

    store: RedisStore
    invalidations: Invalidations
    cache: Cache
    own_writes: OwnWrites
    methods: Methods
    deliveries: Deliveries
    gap: EventGap
    metrics: Metrics
    consumers: list[EventConsumer] = field(default_factory=list)
    running: list["asyncio.Task[None]"] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        return self.store.usable(b"any key")

    async def kill(self) -> None:
        """Ends it like SIGKILL: nothing is retried."""
        for consumer in self.consumers:
            await consumer.stop(0.0)
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)


class World:
    """A context manager; `process()` starts another proxy. The changes of `patch` last as long as the world."""

    patch: pytest.MonkeyPatch

    def __init__(self, redis_addr: str, scene: Scene | None = None) -> None:
        self._addr = redis_addr
        self.scene = scene or MediaScene()
        self._exits = AsyncExitStack()
        self.clock = Clock()
        self.checker = Checker(self.clock.time, longest=TTL)
        self.origin = Origin(self.checker, self.scene)
        self.processes: list[Process] = []
        self.calls: list[asyncio.Task[None]] = []
        self._unapplied: list[tuple[Process, str, int]] = []

    async def __aenter__(self) -> Self:
        patch = self.patch = self._exits.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Budget.__init__, "__defaults__", (_NO_END,))
        patch.setattr("proxy.store.breaker.SLOW", _NO_END)
        self.clock.rules(patch)
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.origin.open()
        for call in self.calls:
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        for process in self.processes:
            await process.cache.close()
            await process.deliveries.finish(0.0)
            await process.kill()
        await self._exits.aclose()

    async def process(self, redis_addr: str = "", policy: compiled.Policy | None = None) -> Process:
        """Starts another process, connected to Redis; `policy` replaces the scene's."""
        target = RedisAddr().parse(redis_addr or self._addr)
        assert target is not None
        said, metrics = policy or self.scene.policy, Metrics()
        keys = Keys("media", ("authorization",), said.reads)
        gap = EventGap(WITHOUT_EVENTS, time.monotonic)
        dependent = any(read.dependent for read in said.reads.values())
        store = RedisStore(
            target, keys, ttl=TTL, stale=0.0, changed=lambda up, reason: None, gap=gap, dependants=dependent
        )
        invalidations = Invalidations(store, metrics)
        rules = Policy("on", TTL, 0.0, 0.0, 1 << 20)
        answer = self.origin.answer
        held_back = invalidations.held_back
        cache = Cache(store, answer, keys, rules, held_back=held_back, observer=metrics, random=lambda: 0.0)
        own_writes = OwnWrites(invalidations)
        methods = Methods(said.reads, said.writes, cache, own_writes, answer, store, metrics)
        deliveries = Deliveries(invalidations, metrics, events=lambda _: self.scene.event)
        process = Process(store, invalidations, cache, own_writes, methods, deliveries, gap, metrics)
        process.running.extend(asyncio.create_task(work) for work in (store.run(), invalidations.run()))
        self.processes.append(process)
        await until(lambda: process.usable, "Redis to be usable")
        return process

    async def consume(self, process: Process, url: str) -> None:
        """Starts a real consumer for a process; returns once events arrive."""
        record = EventRecord(process.store.topology, "media", process.cache._keys.of_tag)
        consumer = EventConsumer(
            [url],
            "cache",
            process.invalidations,
            process.metrics,
            events=self.scene.policy.events,
            gap=process.gap,
            able=Able(any=lambda: process.usable),
            record=record,
        )
        process.own_writes.succeeded = consumer.wrote
        process.consumers.append(consumer)
        consumer.start()
        await until(lambda: process.gap.seconds is None, "events to arrive")

    # What callers do.

    def reading(self, process: Process, asked: Question, *, fresh: bool = False) -> "asyncio.Task[None]":
        """Starts a read, which is judged when it ends."""
        begun = self.checker.began(asked)
        control = (("cache-control", "no-cache"),) if fresh else ()
        plain = self.scene.call(asked)
        call = Call(plain.method, plain.body, (*plain.metadata, *control))

        async def read() -> None:
            reply = await process.methods.read(call)
            response = self.scene.response(asked, reply.body or b"")
            self.checker.ended(begun, response, str(dict(reply.trailing_metadata)["x-cache"]))

        return self._start(read())

    async def read(self, process: Process, asked: Question) -> None:
        await self.reading(process, asked)

    def writing(self, process: Process, number: int) -> "asyncio.Task[None]":
        """Starts a write through a proxy. Once it is answered and Redis has its invalidation, it counts as applied."""
        call, model = self.scene.write(number), self.scene.subject(number)

        async def write() -> None:
            await process.methods.write(call)
            # It was committed before the answer, whatever others have committed since.
            self._unapplied.append((process, model, self.checker.version(model)))
            self.acknowledge_writes()

        return self._start(write())

    def acknowledge_writes(self) -> None:
        """Counts writes as applied whose invalidation was held and no longer is."""
        held = [one for one in self._unapplied if one[0].invalidations.held_back(one[1])]
        for one in self._unapplied:
            if one not in held:
                self.checker.applied(one[1], one[2], "write answered")
        self._unapplied = held

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.create_task(work)
        self.calls.append(task)
        return task

    # What the broker does.

    async def deliver(self, process: Process, number: int) -> None:
        """Delivers one event. It counts as acknowledged only when the acknowledgement arrives, which may be later."""
        model, event = self.scene.subject(number), self.scene.message(number)
        version = self.checker.version(model)
        self.checker.note(f"event for {model} arrives")

        async def basic_ack(tag: int, *, wait: bool) -> None:
            self.checker.applied(model, version, "acknowledged")

        message = SimpleNamespace(
            body=encoded(event),
            exchange=event.exchange,
            routing_key=event.routing_key,
            consumer_tag="cache-events",
            headers={},
            redelivered=False,
            timestamp=None,
            delivery_tag=1,
            channel=SimpleNamespace(basic_ack=basic_ack),
        )
        await process.deliveries.take(cast("AbstractIncomingMessage", message))

    async def flush(self, process: Process) -> None:
        """Flushes, as the consumer does when events may have been missed."""
        versions = self.checker.versions()
        self.checker.note("flush begins")
        await process.invalidations.flush("events were missed")
        for model, version in versions.items():
            self.checker.applied(model, version, "flushed")

    async def settle(self) -> None:
        """Lets everything continue that only waits for Redis or for a turn of the loop; what is gated stays."""
        for _ in range(4):
            for process in self.processes:
                if process.usable:
                    node = process.store._topology.node_for(b"any key")
                    assert node is not None
                    await node.ask(Budget(_NO_END), b"PING")
            await turns()

    async def quiet(self) -> None:
        """Opens every gate; returns once nothing is in progress, so that every read must see what the origin has."""
        self.origin.open()
        await asyncio.gather(*self.calls, return_exceptions=True)
        for process in self.processes:
            await until(lambda process=process: process.usable, "Redis to be usable")  # type: ignore[misc]
            await until(lambda process=process: not len(process.deliveries), "events to be applied")  # type: ignore[misc]
            await until(lambda process=process: not process.invalidations.pending, "nothing to be held")  # type: ignore[misc]
        for call in self.calls:
            if not call.cancelled():
                call.result()
        self.calls.clear()
        self.acknowledge_writes()


async def turns(count: int = 10) -> None:
    """Lets everything that is ready continue."""
    for _ in range(count):
        await asyncio.sleep(0)
