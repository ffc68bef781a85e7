"""`Consuming`: consumes the events of the current policy. A policy with other events gets a new consumer.

Messages wait in their queues meanwhile; a new queue leads to a flush by itself (`proxy.amqp.consumer`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from proxy.amqp.duty import Able
from proxy.core import Core
from proxy.policy.compiled_events import Event
from proxy.served import Served
from proxy.settings.config import Settings
from proxy.store.event_record import EventRecord
from proxy.telemetry.dependency import State
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.queue_depths import QueueDepth

if TYPE_CHECKING:
    from proxy.amqp.consumer import EventConsumer


class Consuming:
    """Consumes events from `start` to `stop`, or does nothing if the policy has no events, RabbitMQ or Redis is off."""

    def __init__(self, settings: Settings, core: Core, metrics: Metrics) -> None:
        self._settings = settings
        self._core = core
        self._metrics = metrics
        self.states: dict[str, Callable[[], State]] = {}
        """`rabbitmq` -> RabbitMQ's state; empty while no events are consumed."""
        self._consumer = self._make()
        self._events = core.policy.events

    @property
    def settled(self) -> bool:
        """Whether callers can be served without waiting for the consumer any longer."""
        return self._consumer is None or self._consumer.settled

    def depths(self) -> Sequence[QueueDepth]:
        """How many events wait in the proxy's queues."""
        return () if self._consumer is None else self._consumer.depths()

    def start(self) -> None:
        """Starts consuming in the background."""
        if self._consumer is not None:
            self._consumer.start()

    async def stop(self) -> None:
        """Stops the consumer."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def take_up(self, served: Served) -> Sequence[str]:
        """Consumes the events of a new policy from now on. Returns nothing, since no part waits for the next start."""
        events, self._events = self._events, served.policy.events
        if _same(events, self._events):
            return ()
        before, self._consumer = self._consumer, None
        if before is not None:
            await before.stop()
        self._consumer = self._make()
        self.start()
        return ()

    def _make(self) -> "EventConsumer | None":
        settings, core, store = self._settings, self._core, self._core.store
        self.states.clear()
        core.own_writes.succeeded = _unheard
        if not settings.rabbitmq_addr or store is None or not core.policy.events:
            return None  # without Redis there is nothing to invalidate, and other processes need the events
        from proxy.amqp.consumer import EventConsumer  # noqa: PLC0415 -- its library is loaded only where it is used

        consumer = EventConsumer(
            settings.rabbitmq_addr,
            settings.queue_prefix,
            core.invalidations,
            self._metrics,
            events=core.policy.events,
            gap=core.gap,
            able=Able(store.any_usable, lambda: core.redis_state().up, store.takes),
            tls=core.tls.rabbitmq,
            record=EventRecord(store.topology, settings.cache_namespace, core.keys.of_tag),
        )
        core.own_writes.succeeded = consumer.wrote
        self.states["rabbitmq"] = lambda: consumer.state
        return consumer


def _unheard(*_: object) -> None:
    """Does nothing: without a consumer no events are expected after a write."""


def _same(some: Sequence[Event], others: Sequence[Event]) -> bool:
    return [each.identity for each in some] == [each.identity for each in others]
