"""`Deliveries`: how each arriving message is handled.

    names tags      they are invalidated, however long that takes; the message is acknowledged afterwards, never before
    names none      it is counted, logged without its payload, and rejected without requeueing (a dead-letter policy may
                    keep it); if the policy says so, everything is flushed first
    cannot be       the part of Redis with its tag is away: it is held for a while, longer each time, then returned to
    applied here    the queue for a proxy that reaches that part

Messages are handled concurrently, so that a held invalidation does not block others; the consumer's prefetch limits how
many. An acknowledgement on a lost connection is dropped: the broker delivers the message again, and invalidating twice
does no harm.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from proxy.amqp.duty import Able
from proxy.amqp.silence import Silence
from proxy.calls.tags import UNDESCRIBED, Description, told_kind
from proxy.policy.bodies import BadBody
from proxy.policy.compiled_events import Event
from proxy.retry import Pauses, jittered, until_done
from proxy.telemetry import span_names, tracing
from proxy.telemetry.log import RateLimit

Outcome = Literal["applied", "malformed", "oversize", "retried"]

_ANSWER_TIMEOUT = 10.0  # seconds
_COUNTED_AS = 2
"""Assumed number of returns of a redelivered message, if the broker does not report one."""
_MOST_COUNTED = 6
_MORE_PATIENT = 50
"""Number of waiting messages that doubles the time for which each is kept."""
_LONGEST_WAIT = 30 * 86_400.0
"""Seconds that a message can have waited: an unused queue expires after a week."""
_logger = logging.getLogger(__name__)


class Invalidator(Protocol):
    """What events need of the cache. Each method returns once Redis has confirmed, however long Redis is away."""

    async def invalidate(
        self, tag: str, *, source: str, about: Description = UNDESCRIBED, sent_at: float | None = None
    ) -> None:
        """Removes everything that was stored for the tag before this call. `sent_at` is in seconds since 1970."""

    async def flush(self, reason: str) -> None:
        """Removes everything that was stored for any tag before this call."""

    async def flush_in_time(self, reason: str, service: str = "") -> None:
        """Flushes everything, or what belongs to `service`, but at most once every few seconds."""


class EventObserver(Protocol):
    """Receives the consumer's counts."""

    def event(self, kind: str, outcome: Outcome) -> None:
        """One message was handled, or (`retried`) an attempt to handle it failed."""

    def dependency(self, name: str, *, up: bool) -> None:
        """A system that the proxy depends on was lost or is back."""

    def events_missing(self, missing: bool) -> None:
        """Whether writes succeed without being followed by events."""


@dataclass(slots=True)
class InHand:
    """A message that is being handled."""

    since: float
    """When it arrived, by `time.monotonic`."""
    returns: int
    """How often it has been returned to the queue."""
    tags: tuple[str, ...] = ()
    limit: asyncio.Timeout | None = None
    """Ends its handling when it is rescheduled; None while the message cannot be handed back."""


class Deliveries:
    """Owns the tasks that handle messages; they may outlive the connection on which their messages came."""

    def __init__(
        self,
        invalidator: Invalidator,
        observer: EventObserver,
        silence: Silence | None = None,
        *,
        events: Callable[[str], Event],
        able: Able | None = None,
        clock: Callable[[], float] = time.time,
        pauses: Pauses = jittered,
    ) -> None:
        """`events` returns the policy's event for a consumer tag, which is the queue's name."""
        self.place: span_names.Place = {}
        """The broker that messages come from, for spans."""
        self._invalidator = invalidator
        self._observer = observer
        self._events = events
        self._able = able or Able()
        self._silence = silence or Silence(None, lambda owed: None)
        self._clock = clock
        self._pauses = pauses
        self._complaints = RateLimit()
        self._tasks: dict[asyncio.Task[None], InHand] = {}  # ordered by age

    async def take(self, message: AbstractIncomingMessage) -> None:
        """The callback for aio-pika, which cancels it when the connection ends; therefore it awaits nothing."""
        in_hand = InHand(time.monotonic(), _returns(message))
        task = asyncio.create_task(self._traced(message, in_hand), name="event")
        self._tasks[task] = in_hand
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error(
                "an event could not be handled; RabbitMQ delivers it again after the next reconnect", exc_info=error
            )

    def __len__(self) -> int:
        """How many messages are being handled."""
        return len(self._tasks)

    @property
    def oldest(self) -> float | None:
        """When the oldest message in hand that can be applied arrived, by `time.monotonic`; None if there is none."""
        return next((each.since for each in self._tasks.values() if not self._waits(each)), None)

    @property
    def waiting(self) -> int:
        """How many messages cannot be applied now, because the part of Redis with one of their tags is away."""
        return sum(map(self._waits, self._tasks.values()))

    def _waits(self, each: InHand) -> bool:
        return not all(map(self._able.of, each.tags))

    def hand_back(self, patience: float) -> None:
        """Returns messages to the queue that cannot be applied and have waited for `patience` seconds: for longer after
        each return and the more messages wait, so that few go back and forth if nobody can apply them.
        """
        now = time.monotonic()
        waiting = [each for each in self._tasks.values() if each.limit is not None and self._waits(each)]
        patience *= 1 + len(waiting) / _MORE_PATIENT
        for each in waiting:
            if each.limit is not None and now - each.since >= patience * 2**each.returns:
                each.limit.reschedule(0.0)
                each.limit = None

    def keep_newest(self, count: int) -> None:
        """Drops all but the newest `count` messages. Their connection is gone, so they are delivered again. This bounds
        how many accumulate over reconnects.
        """
        for task in list(self._tasks)[: max(0, len(self._tasks) - count)]:
            task.cancel()

    async def finish(self, grace: float) -> None:
        """Waits up to `grace` seconds for messages in hand, then drops the others, which will be delivered again."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _traced(self, message: AbstractIncomingMessage, in_hand: InHand) -> None:
        way = (message.exchange or "", message.routing_key or "", message.consumer_tag or "")
        with tracing.event_span(message.headers, *way, self.place) as span:
            await self._handle(message, in_hand, span)

    async def _handle(self, message: AbstractIncomingMessage, in_hand: InHand, span: tracing.Scope) -> None:
        """Handles one message completely."""
        received = self._clock()
        event, routing_key = self._events(message.consumer_tag or ""), message.routing_key or ""
        kind = event.kind(routing_key)
        try:
            tags, about = event.tags_of(message.body, routing_key)
        except BadBody as bad:
            span.failed(bad.reason)
            self._observer.event(kind, "oversize" if bad.reason == "oversize" else "malformed")
            self._silence.unreadable()
            self._log_malformed(message, bad, event)
            if event.flushes:
                reason = f"an event of {event.exchange} does not say what it changed"
                await self._done_in_the_end(lambda: self._invalidator.flush_in_time(reason, event.share), kind)
            await self._answer(message, good=False)
            return
        if tags:
            tracing.about(told_kind(tags[0], about, event.tag_kind))
        # The next step may wait for as long as Redis is away; hundreds of bodies need not stay in memory meanwhile.
        message.body = b""  # type: ignore[misc]  # the abstract class lists no slots, the real one has this
        in_hand.tags, sent_at = tuple(tags), _sent_at(message, received)
        try:
            async with asyncio.timeout(None) as in_hand.limit:
                await self._apply(in_hand.tags, about, sent_at, kind)
        except TimeoutError:
            self._observer.event(kind, "retried")
            await self._answer(message, good=False, again=True)
            return
        finally:
            in_hand.limit = None
        self._observer.event(kind, "applied")
        self._silence.heard(in_hand.tags)
        await self._answer(message, good=True)

    async def _apply(self, tags: tuple[str, ...], about: Description, sent_at: float, kind: str) -> None:
        async def invalidate(tag: str) -> None:
            await self._done_in_the_end(
                lambda: self._invalidator.invalidate(tag, source="event", about=about, sent_at=sent_at), kind
            )

        if len(tags) == 1:
            await invalidate(tags[0])
        else:
            await asyncio.gather(*map(invalidate, tags))

    async def _done_in_the_end(self, work: Callable[[], Awaitable[None]], kind: str) -> None:
        """Retries the work until it succeeds, because a failure here is never caused by the message."""

        def failed(times: int, error: Exception) -> None:
            self._observer.event(kind, "retried")
            if times == 1:
                _logger.error("an invalidation failed; it is retried until it succeeds", exc_info=error)

        await until_done(work, failed, self._pauses)

    async def _answer(self, message: AbstractIncomingMessage, *, good: bool, again: bool = False) -> None:
        """Acknowledges, returns or rejects. It does not wait for the socket: the library's futures are unreliable."""
        tag = message.delivery_tag
        if tag is None:
            return
        with suppress(*CONNECTION_EXCEPTIONS):
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                if good:
                    await message.channel.basic_ack(tag, wait=False)
                elif again:  # newer brokers count a reject towards the delivery limit of a quorum queue
                    await message.channel.basic_nack(tag, requeue=True, wait=False)
                else:
                    await message.channel.basic_reject(tag, requeue=False, wait=False)

    def _log_malformed(self, message: AbstractIncomingMessage, bad: BadBody, event: Event) -> None:
        kept_back = self._complaints.admit(bad.reason)
        if kept_back is not None:
            _logger.warning(
                "an event does not say what it changed, so the stored answers are flushed: its %s cannot be used"
                if event.flushes
                else "an event was dropped because it names no model: its %s cannot be used",
                "size" if bad.reason == "oversize" else bad.reason,
                extra={
                    "reason": bad.reason,
                    "routing_key": message.routing_key,
                    "bytes": len(message.body),
                    "suppressed": kept_back,
                },
            )


def _sent_at(message: AbstractIncomingMessage, received: float) -> float:
    """When the message was sent, in seconds since 1970. A timestamp that is too old, such as 0, is ignored."""
    sent_at = message.timestamp.timestamp() if message.timestamp else received
    return sent_at if received - sent_at < _LONGEST_WAIT else received


def _returns(message: AbstractIncomingMessage) -> int:
    """How often the message was returned to its queue, up to a maximum; each return doubles how long it is kept."""
    counted = message.headers.get("x-delivery-count")
    returns = counted if isinstance(counted, int) else _COUNTED_AS if message.redelivered else 0
    return max(0, min(returns, _MOST_COUNTED))
