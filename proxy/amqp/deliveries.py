"""`Deliveries`: how each arriving message is handled.

    names tags      invalidated, however long that takes; acknowledged afterwards, never before
    names none      counted, logged without its payload, rejected for good (a dead-letter policy may keep it); if the
                    policy says so, everything is flushed first
    cannot be       the part of Redis with its tag is away: held for a while, longer each time, then returned to the
    applied here    queue for a proxy that reaches that part

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
"""Returns of a message that was returned before, where the broker does not tell how often."""
_MOST_COUNTED = 6
_MORE_PATIENT = 50
"""So many that wait double the time that each of them is kept."""
_LONGEST_WAIT = 30 * 86_400.0
"""Seconds: a queue that nobody asks for is gone after a week."""
_logger = logging.getLogger(__name__)


class Invalidator(Protocol):
    """The cache, as far as events go. Each method returns once Redis has confirmed, however long Redis is away."""

    async def invalidate(
        self, tag: str, *, source: str, about: Description = UNDESCRIBED, sent_at: float | None = None
    ) -> None:
        """Nothing stored of this tag before the call is served after it. `sent_at` is in seconds since 1970."""

    async def flush(self, reason: str) -> None:
        """Nothing stored of any tag before the call is served after it."""

    async def flush_in_time(self, reason: str, service: str = "") -> None:
        """The same, of one service where one is named, but not more often than every few seconds."""


class EventObserver(Protocol):
    """Where the consumer's counts go."""

    def event(self, kind: str, outcome: Outcome) -> None:
        """One message was dealt with, or (`retried`) an attempt to do so failed."""

    def dependency(self, name: str, *, up: bool) -> None:
        """A system we depend on was lost or is back."""

    def events_missing(self, missing: bool) -> None:
        """Writes succeed and no event follows, or does again."""


@dataclass(slots=True)
class InHand:
    """A message that is being handled."""

    since: float
    returns: int
    """How often it has gone back to the queue."""
    tags: tuple[str, ...] = ()
    limit: asyncio.Timeout | None = None


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
        """`events` says what the policy has for the messages of a queue, by the consumer's tag."""
        self.place: span_names.Place = {}
        """Of the broker that messages come from, for spans."""
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
        """aio-pika's callback. It would cancel what it awaits when the connection goes, so it awaits nothing."""
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
        """When the message that has been in hand for the longest time came, by `time.monotonic`, of those that could be
        applied; None: none is.
        """
        return next((each.since for each in self._tasks.values() if not self._waits(each)), None)

    @property
    def waiting(self) -> int:
        """How many cannot be applied now, since a tag's part of Redis is away."""
        return sum(map(self._waits, self._tasks.values()))

    def _waits(self, each: InHand) -> bool:
        return not all(map(self._able.of, each.tags))

    def hand_back(self, patience: float) -> None:
        """Gives back what cannot be applied and has waited for long enough: the longer, the more of it there is, so
        that where nobody can apply it little goes to and fro.
        """
        now = time.monotonic()
        waiting = [each for each in self._tasks.values() if each.limit is not None and self._waits(each)]
        patience *= 1 + len(waiting) / _MORE_PATIENT
        for each in waiting:
            if each.limit is not None and now - each.since >= patience * 2**each.returns:
                each.limit.reschedule(0.0)
                each.limit = None

    def keep_newest(self, count: int) -> None:
        """Gives up all others: their connection is gone, so they come again. Bounds what reconnects can pile up."""
        for task in list(self._tasks)[: max(0, len(self._tasks) - count)]:
            task.cancel()

    async def finish(self, grace: float) -> None:
        """Lets what is under way end within `grace` seconds; gives up the rest: not acknowledged, it comes again."""
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
        """All that is done for one message."""
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
        # What follows may wait for as long as Redis is away; hundreds of bodies need not.
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
        """Returns once it is done: what fails here is a fault of ours or of Redis, never of the message."""

        def failed(times: int, error: Exception) -> None:
            self._observer.event(kind, "retried")
            if times == 1:
                _logger.error("an invalidation failed; it is retried until it succeeds", exc_info=error)

        await until_done(work, failed, self._pauses)

    async def _answer(self, message: AbstractIncomingMessage, *, good: bool, again: bool = False) -> None:
        """Acknowledges, returns or rejects; never waits for the socket: the library's futures end oddly."""
        tag = message.delivery_tag
        if tag is None:
            return
        with suppress(*CONNECTION_EXCEPTIONS):
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                if good:
                    await message.channel.basic_ack(tag, wait=False)
                elif again:  # not by reject: newer brokers count that towards the delivery limit of a quorum queue
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
    """Seconds since 1970. What no message can have waited for, a `timestamp` of 0 for one, is not its time."""
    sent_at = message.timestamp.timestamp() if message.timestamp else received
    return sent_at if received - sent_at < _LONGEST_WAIT else received


def _returns(message: AbstractIncomingMessage) -> int:
    """How often it has gone back to its queue, as far as that matters: each time it is kept twice as long."""
    counted = message.headers.get("x-delivery-count")
    returns = counted if isinstance(counted, int) else _COUNTED_AS if message.redelivered else 0
    return max(0, min(returns, _MOST_COUNTED))
