"""`Silence`: notices that the media service has ceased to publish, or publishes what cannot be read.

The media service does not reconnect to RabbitMQ. After a restart of the broker its writes go on to succeed, but no
event follows them; every proxy is connected and sees nothing wrong. The proxies' own writes show it.

Rules, for all proxies of a namespace together (they share the queues, so any of them may receive the event of a write;
`EventRecord` keeps the count):
    missing   a write through a proxy that has succeeded and has had no event; also an event that names no model
    heard     an event that was applied: nothing before it is missing any more, whichever model it names
    overdue   `ENOUGH` are missing, no event came since the first of them began, and it ended `OVER` seconds ago or more
    silence   the same, and a proxy has listened for `OVER` seconds since the first of them ended
    ended     by the next event that any proxy applies. A Redis that has lost the count does not end it
A write with `success = false` or an unknown outcome has no event to wait for. An event may come before its write is
answered, so it counts from the beginning of the write. An event that is late by less than `GRACE` is never missing.

While a process takes no events (RabbitMQ lost, no Redis), they pile up in the queues. So a write is missing its event
only once its process has listened (`Listening`) for `DRAINING` since, and a silence is measured in seconds of
listening. Where RabbitMQ may have lost events, the writes before that are forgiven. However often proxies are
interrupted, nothing that was stored is trusted while events are overdue; only the log line and the metric wait until it
is a silence.

When Redis does not take the count, nobody can tell. After `OVER` seconds without a verdict and without an event, what
was stored is not trusted either, until there is a verdict.

When one of several media services is mute and the others publish, the writes that have no event of their own show it
(`Owed`):
    in part   `ENOUGH` of the last 15 judged writes of all proxies had no event; or `ENOUGH` of the last 15 events named
              no model, while others between them did
    ended     once 30 in a row were good, or none was bad for an hour
Not noticed: a mute service through which fewer of the writes go; changes made only past the proxies; and all of this
with `CACHE_EVENT_WINDOW=0`, where nothing tells an event from an operator's order.

When any of these ends, everything stored before is flushed: it is older than some event that never came.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import Protocol

from proxy.amqp.listening import Listening
from proxy.amqp.owed import Notes, Owed
from proxy.calls.event_gap import NEVER
from proxy.errors import RedisUnavailableError

SILENT = (
    "writes succeed but no media event follows them: the media service has lost RabbitMQ (restart it), or its events "
    "cannot be read"
)
SILENT_IN_PART = (
    "some writes succeed but no media event follows them: one of several media services has lost RabbitMQ (restart it) "
    "or sends events that cannot be read, or another consumer takes events out of the proxy's queues"
)
ENOUGH = 3
OVER = 10.0  # seconds
GRACE = 2.0
DRAINING = 0.5  # seconds, of which an event needs a few milliseconds
_MOST_OUTCOMES = 30
_INEXACT = 1.0
"""Seconds by which one and the same event may seem to be later or earlier: an exchange takes its time."""
_EXCHANGE_EVERY = 2.0
_EXCHANGE_PAUSE = 1.0  # whatever happens


class Verdict(Protocol):
    """What the record says."""

    @property
    def silent(self) -> bool: ...
    @property
    def heard_ago(self) -> float | None: ...
    @property
    def in_part(self) -> bool: ...
    @property
    def overdue(self) -> bool: ...
    @property
    def ended(self) -> bool:
        """What this process told has just ended a silence, or what was overdue."""


class Record(Notes, Protocol):
    """Where the proxies of a namespace count together; see `EventRecord`."""

    @property
    def id(self) -> str:
        """Of their Redis; empty until the first exchange."""

    async def exchange(
        self,
        *,
        heard_ago: float | None,
        missing: Iterable[tuple[float, float]],
        enough: int,
        over: float,
        listened: float | None,
        outcomes: Iterable[bool],
        readable: Iterable[bool],
    ) -> Verdict: ...


class State(Enum):
    """What is known of the events."""

    THERE = "there"
    UNTOLD = "nobody can tell"
    OVERDUE = "overdue"
    SILENT = "silent"
    IN_PART = "silent in part"


_OF_ALL = frozenset({State.OVERDUE, State.SILENT})
_MISSING = _OF_ALL | {State.IN_PART}
_logger = logging.getLogger(__name__)


class Silence:
    """Of this process. Without a record nothing is noticed."""

    def __init__(
        self, record: Record | None, changed: Callable[[bool], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`changed` is called when `since` or `trouble` changes, and once at first, when the first verdict is there;
        with True where what is stored is to be flushed.
        """
        self._record = record
        self._changed = changed
        self._clock = clock
        self._heard_at = -math.inf
        self._told_at = -math.inf
        """Of what was heard, the part that the record knows."""
        self._missing: list[tuple[float, float]] = []
        self._listening = Listening(OVER + GRACE)
        self._owed = Owed()
        self._any_heard_at = -math.inf
        """By any proxy, as far as is known."""
        self._verdict_at = clock()
        self._ended_at = -math.inf
        """When a flush was said to be due, last."""
        self._state = State.THERE
        self._in_part = False
        self._said = ""
        """To people, of what lasts."""
        self._outcomes = _latest()
        """Of writes that were judged, those that the record does not know."""
        self._readable = _latest()
        """Whether each of the latest events named what it changed."""
        self._news = asyncio.Event()
        self.known = record is None
        """A verdict is there, or cannot be had."""
        self.since: float | None = None
        """Since when events may be missing; None: they are not."""

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty: nothing."""
        return SILENT if self._state is State.SILENT else SILENT_IN_PART if self._in_part else ""

    def listening(self, listens: bool) -> None:
        """Whether this process takes events now; may be said as often as you like."""
        self._listening.told(self._clock(), listens=listens)

    def forgive(self) -> None:
        """RabbitMQ may have lost the events of all writes until now: none of them is missing its event any more."""
        self._missing.clear()
        self._owed.forget()

    def heard(self, tags: Iterable[str] = ()) -> None:
        """An event was applied that names these."""
        overdue = self._overdue
        self._heard_at = self._any_heard_at = self._clock()
        self._missing.clear()
        self._owed.heard(tags)
        self._readable.append(True)
        if self._state in _OF_ALL:
            self._owed.forget()  # its events went where all went
        self._news.set()
        self._become(self._at_most_in_part, ended=overdue)

    def wrote(self, began: float, tags: tuple[str, ...] = (), intent: bytes = b"") -> None:
        """A write through this process succeeded that began then, by `time.monotonic`."""
        if began > self._heard_at:
            self._miss(began)
        if self._state not in _OF_ALL:
            self._owed.wrote(tags, intent, self._clock())

    def unreadable(self) -> None:
        """An event came that names no model."""
        self._miss(self._clock())
        self._readable.append(False)

    def _miss(self, began: float) -> None:
        if len(self._missing) < ENOUGH:
            self._missing.append((began, self._clock()))

    @property
    def _overdue(self) -> bool:
        """By what this process knows and the record does not."""
        since = self._listening.since(self._clock(), OVER)
        return len(self._missing) >= ENOUGH and since is not None and self._missing[0][1] <= since

    async def run(self) -> None:
        """Exchanges with the other proxies what was heard and what is missing, until cancelled."""
        if self._record is None:
            return
        while True:
            await self._exchange(self._record)
            await asyncio.sleep(_EXCHANGE_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(_EXCHANGE_EVERY - _EXCHANGE_PAUSE):
                    await self._news.wait()

    async def _exchange(self, record: Record) -> None:
        self._news.clear()
        now, heard_at, told_at = self._clock(), self._heard_at, self._told_at
        drained_since, due_until, listened_since = (
            self._listening.since(now, seconds) for seconds in (DRAINING, OVER + GRACE, OVER)
        )
        late_until = -math.inf if drained_since is None else min(now - GRACE, drained_since)
        late = [pair for pair in self._missing if pair[1] <= late_until]
        if due_until is not None:
            self._outcomes.extend(await self._owed.judged(record, due_until, self._any_heard_at))
        outcomes, self._outcomes = self._outcomes, _latest()
        readable, self._readable = self._readable, _latest()
        try:
            verdict = await record.exchange(
                heard_ago=now - heard_at if heard_at > told_at else None,
                missing=[(now - began, now - ended) for began, ended in late],
                enough=ENOUGH,
                over=OVER,
                listened=None if listened_since is None else now - listened_since,
                outcomes=outcomes,
                readable=readable,
            )
        except RedisUnavailableError:
            self._outcomes, self._readable = _latest(*outcomes, *self._outcomes), _latest(*readable, *self._readable)
            self._no_verdict(now)
        else:
            self._missing = [pair for pair in self._missing if pair not in late]
            self._told_at, self._verdict_at = max(told_at, heard_at), now
            self._judge(verdict, now, heard_at, ended=verdict.ended and self._ended_at <= told_at)
        if not self.known:
            self.known = True
            self._changed(False)

    def _judge(self, verdict: Verdict, now: float, heard_at: float, *, ended: bool) -> None:
        """`heard_at`: what the verdict knows of; `ended`: it is over what this process has not seen."""
        ago = verdict.heard_ago
        at = NEVER if ago is None else now - ago
        self._any_heard_at, self._in_part = max(self._any_heard_at, at), verdict.in_part
        if self._heard_at == heard_at and (verdict.silent or verdict.overdue):
            self._owed.forget()
            self._become(State.SILENT if verdict.silent else State.OVERDUE, at)
        elif self._state not in _OF_ALL or self.since is None or at > self.since + _INEXACT:
            self._become(self._at_most_in_part, ended=ended)
        # else no event has ended it: the record was lost, with all that Redis had stored or by an eviction

    def _no_verdict(self, now: float) -> None:
        known_at = max(self._verdict_at, self._any_heard_at)
        if self._state is State.THERE and now - known_at >= OVER:
            self._become(State.UNTOLD, known_at)

    @property
    def _at_most_in_part(self) -> State:
        return State.IN_PART if self._in_part else State.THERE

    def _become(self, state: State, since: float | None = None, *, ended: bool = False) -> None:
        """`since`: of a silence of all, or since when nobody can tell; `ended`: of one that was not seen before."""
        before, self._state = self._state, state
        self.since = NEVER if state is State.IN_PART else since
        over = before in _MISSING and state not in _OF_ALL and state is not before
        if over or ended:
            self._ended_at = self._clock()
        self._say()
        if over or ended or state is not before:
            self._changed(over or ended)

    def _say(self) -> None:
        said, self._said = self._said, self.trouble
        if self._said and self._said != said:
            _logger.warning("%s", self._said, extra={"dependency": "rabbitmq"})
        elif said and not self._said:
            _logger.info("media events follow writes again", extra={"dependency": "rabbitmq"})


def _latest(*outcomes: bool) -> deque[bool]:
    return deque(outcomes, maxlen=_MOST_OUTCOMES)
