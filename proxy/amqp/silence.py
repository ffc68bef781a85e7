"""`Silence`: detects that the media service no longer publishes, or publishes only events that cannot be read.

The media service does not reconnect to RabbitMQ. After a restart of the broker, its writes still succeed, but no events
follow them; every proxy is connected and sees nothing wrong. The proxies' own writes reveal it.

Rules, for all proxies of a namespace together (they share the queues, so any of them may receive the event of a write;
`EventRecord` keeps the count):
    missing   a write through a proxy has succeeded without an event so far; an event that names no model counts too
    heard     an event was applied: nothing before it is missing any more, whichever model it names
    overdue   `ENOUGH` are missing, no event came since the first write began, and that write ended at least `OVER`
              seconds ago
    silence   the same, and a proxy has listened for `OVER` seconds since that write ended
    ended     any proxy has applied an event. If Redis loses the count, that does not end a silence
A write with `success = false` or an unknown outcome is not expected to have an event. An event may arrive before its
write is answered, so events count from the beginning of the write. An event that is less than `GRACE` late is never
missing.

While a process takes no events (RabbitMQ or Redis is away), they wait in the queues. So the event of a write is missing
only after the process has listened (`Listening`) for another `DRAINING` seconds, and a silence is measured in seconds
of listening. If RabbitMQ may have lost events, writes before that do not count. However often proxies are interrupted,
stored answers are not trusted while events are overdue; only the log line and the metric wait for a silence.

If Redis does not accept the count, the state is unknown. After `OVER` seconds without a verdict and without an event,
stored answers are not trusted either, until there is a verdict.

If one of several media services is mute while the others publish, the writes without an event of their own reveal it
(`ExpectedEvents`):
    in part   `ENOUGH` of the last 15 judged writes of all proxies had no event; or `ENOUGH` of the last 15 events named
              no model, with readable events between them
    ended     the last 30 were all good, or none was bad for an hour
Not detected: a mute service that receives fewer of the writes; changes that bypass the proxies; and all of this with
`CACHE_EVENT_WINDOW=0`, because an event then looks like an operator's command.

When any of these ends, everything stored before is flushed, because it is older than some event that never came.
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

from proxy.amqp.expected_events import ExpectedEvents, Notes
from proxy.amqp.listening import Listening
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
DRAINING = 0.5  # seconds; an event needs only a few milliseconds
_MOST_OUTCOMES = 30
_INEXACT = 1.0
"""Seconds by which the time of an event may differ between two exchanges, because an exchange takes time."""
_EXCHANGE_EVERY = 2.0
_EXCHANGE_PAUSE = 1.0  # minimum time between two exchanges


class Verdict(Protocol):
    """What the record says; see `proxy.store.event_record`."""

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
        """Whether this process' report has just ended a silence, or ended events being overdue."""


class Record(Notes, Protocol):
    """The common count of all proxies of a namespace; see `EventRecord`."""

    @property
    def id(self) -> str:
        """The id of their Redis; empty until the first exchange."""

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
    """What is known about the events."""

    THERE = "there"
    UNTOLD = "nobody can tell"
    OVERDUE = "overdue"
    SILENT = "silent"
    IN_PART = "silent in part"


_OF_ALL = frozenset({State.OVERDUE, State.SILENT})
_MISSING = _OF_ALL | {State.IN_PART}
_logger = logging.getLogger(__name__)


class Silence:
    """What this process knows of a silence. Without a record, nothing is detected."""

    def __init__(
        self, record: Record | None, changed: Callable[[bool], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`changed` is called when `since` or `trouble` changes, and after the first verdict; with True if everything
        stored must be flushed.
        """
        self._record = record
        self._changed = changed
        self._clock = clock
        self._heard_at = -math.inf
        self._told_at = -math.inf
        """The last `_heard_at` that the record knows."""
        self._missing: list[tuple[float, float]] = []
        self._listening = Listening(OVER + GRACE)
        self._owed = ExpectedEvents()
        self._any_heard_at = -math.inf
        """When any proxy last applied an event, as far as is known."""
        self._verdict_at = clock()
        self._ended_at = -math.inf
        """When a flush was last requested."""
        self._state = State.THERE
        self._in_part = False
        self._said = ""
        """The last state that was logged; empty if it was good."""
        self._outcomes = _latest()
        """Whether each judged write had its event, for those that the record does not know yet."""
        self._readable = _latest()
        """Whether each of the latest events named what it changed, for those that the record does not know yet."""
        self._news = asyncio.Event()
        self.known = record is None
        """Whether there has been a verdict, or cannot be one."""
        self.since: float | None = None
        """Since when events may be missing, by `clock`; None if they are not."""

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty if nothing is."""
        return SILENT if self._state is State.SILENT else SILENT_IN_PART if self._in_part else ""

    def listening(self, listens: bool) -> None:
        """Records whether this process takes events now; repeating the same state does no harm."""
        self._listening.told(self._clock(), listens=listens)

    def forgive(self) -> None:
        """RabbitMQ may have lost the events of all writes so far, so they no longer count as missing."""
        self._missing.clear()
        self._owed.forget()

    def heard(self, tags: Iterable[str] = ()) -> None:
        """An event that names these tags was applied."""
        overdue = self._overdue
        self._heard_at = self._any_heard_at = self._clock()
        self._missing.clear()
        self._owed.heard(tags)
        self._readable.append(True)
        if self._state in _OF_ALL:
            self._owed.forget()  # the silence explains why their events are missing
        self._news.set()
        self._become(self._at_most_in_part, ended=overdue)

    def wrote(self, began: float, tags: tuple[str, ...] = (), intent: bytes = b"") -> None:
        """A write through this process succeeded; it began at `began`, by `time.monotonic`."""
        if began > self._heard_at:
            self._miss(began)
        if self._state not in _OF_ALL:
            self._owed.wrote(tags, intent, self._clock())

    def unreadable(self) -> None:
        """An event arrived that names no model."""
        self._miss(self._clock())
        self._readable.append(False)

    def _miss(self, began: float) -> None:
        if len(self._missing) < ENOUGH:
            self._missing.append((began, self._clock()))

    @property
    def _overdue(self) -> bool:
        """Whether events are overdue by what this process knows and the record does not."""
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
        """`heard_at`: the last event that the verdict covers; `ended`: it ended something this process had not seen."""
        ago = verdict.heard_ago
        at = NEVER if ago is None else now - ago
        self._any_heard_at, self._in_part = max(self._any_heard_at, at), verdict.in_part
        if self._heard_at == heard_at and (verdict.silent or verdict.overdue):
            self._owed.forget()
            self._become(State.SILENT if verdict.silent else State.OVERDUE, at)
        elif self._state not in _OF_ALL or self.since is None or at > self.since + _INEXACT:
            self._become(self._at_most_in_part, ended=ended)
        # else no event has ended it: the record was lost, by an eviction or with all of Redis' data

    def _no_verdict(self, now: float) -> None:
        known_at = max(self._verdict_at, self._any_heard_at)
        if self._state is State.THERE and now - known_at >= OVER:
            self._become(State.UNTOLD, known_at)

    @property
    def _at_most_in_part(self) -> State:
        return State.IN_PART if self._in_part else State.THERE

    def _become(self, state: State, since: float | None = None, *, ended: bool = False) -> None:
        """`since`: when a complete silence or the unknown state began; `ended`: a silence not seen here has ended."""
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
