"""`Silence`: notices that the media service has ceased to publish, or publishes what cannot be read.

The media service does not reconnect to RabbitMQ: after a restart of the broker its writes go on to succeed and no event
follows, while every proxy is connected and has no reason to doubt. It shows in our own writes.

Rules, for all proxies of a namespace together (they share the queues, so that the event of one's write reaches any of
them; `EventRecord` keeps the count):
    missing   a write through a proxy that has succeeded, and an event that names no model
    heard     an event that was applied; what was missing before it is so no more, whichever model it names
    silence   `ENOUGH` missing ones with no event since the first of them began, which ended `OVER` seconds ago or more
    ended     by the next event that is applied, whoever applies it
A write with `success = false` or an unknown outcome has no event to wait for. An event may come before its write is
answered: it counts from the write's beginning. One that is late by less than `GRACE` is never missing. While this
process hears no events itself (RabbitMQ lost, no Redis) its writes do not count, nor does it judge until it has been
listening for `OVER` seconds, so that what has piled up in the queues is applied first.

One of several media services that is mute while others publish shows in the writes that have no event of their own
(`Owed`):
    in part   `ENOUGH` of the last 15 writes that were judged, of all proxies; or of the last 15 events named no
              model while others between them did
    ended     once 30 in a row were good, or none was bad for an hour
What this does not see: a mute one through which fewer of the writes go, and what is changed past the proxies only; and
none of this with `CACHE_EVENT_WINDOW=0`, where nothing tells an event from an operator's order.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

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
_MOST_READABLE = 30
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
        judge: bool,
        enough: int,
        over: float,
        outcomes: Iterable[bool],
        readable: Iterable[bool],
    ) -> Verdict: ...


class Silence:
    """Of this process. Without a record nothing is noticed."""

    def __init__(
        self, record: Record | None, changed: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`changed` is called when a silence begins, ends, or is one of all or of a part now, and once at first, when
        the first verdict is there.
        """
        self._record = record
        self._changed = changed
        self._clock = clock
        self._heard_at = -math.inf
        self._told_at = -math.inf
        """Of what was heard, the part that the record knows."""
        self._missing: list[tuple[float, float]] = []
        self._listening_since: float | None = None
        self._owed = Owed(OVER + GRACE)
        self._any_heard_at = -math.inf
        """By any proxy, as far as is known."""
        self._silent = self._in_part = False
        self._readable: deque[bool] = deque(maxlen=_MOST_READABLE)
        """Whether each of the latest events named what it changed."""
        self._news = asyncio.Event()
        self.known = record is None
        """A verdict is there, or cannot be had."""
        self.since: float | None = None
        """Since when events may be missing; None while there is no silence."""

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty: nothing."""
        return "" if self.since is None else SILENT if self._silent else SILENT_IN_PART

    def listening(self, listens: bool) -> None:
        """Whether this process takes events now; may be said as often as you like."""
        if not listens:
            self._listening_since = None
            self._missing.clear()
            self._owed.forget()
        elif self._listening_since is None:
            self._listening_since = self._clock()

    def heard(self, tags: Iterable[str] = ()) -> None:
        """An event was applied that names these."""
        self._heard_at = self._any_heard_at = self._clock()
        self._missing.clear()
        self._owed.heard(tags)
        self._readable.append(True)
        if self._silent:
            self._owed.forget()  # its events went where all went
        self._news.set()
        self._decide(None)

    def wrote(self, began: float, tags: tuple[str, ...] = (), intent: bytes = b"") -> None:
        """A write through this process succeeded that began then, by `time.monotonic`."""
        if self._listening_since is None:
            return
        if began > self._heard_at:
            self._miss(began)
        if not self._silent:
            self._owed.wrote(tags, intent, self._clock())

    def unreadable(self) -> None:
        """An event came that names no model."""
        self._miss(self._clock())
        self._readable.append(False)

    def _miss(self, began: float) -> None:
        if len(self._missing) < ENOUGH:
            self._missing.append((began, self._clock()))

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
        now, heard_at = self._clock(), self._heard_at
        late = [pair for pair in self._missing if now - pair[1] >= GRACE]
        listened = 0.0 if self._listening_since is None else now - self._listening_since
        readable, self._readable = self._readable, deque(maxlen=_MOST_READABLE)
        try:
            verdict = await record.exchange(
                heard_ago=now - heard_at if heard_at > self._told_at else None,
                missing=[(now - began, now - ended) for began, ended in late],
                judge=listened >= OVER,
                enough=ENOUGH,
                over=OVER,
                outcomes=await self._owed.judged(record, now, self._any_heard_at),
                readable=readable,
            )
        except RedisUnavailableError:
            self._first()
            return
        self._told_at = max(self._told_at, heard_at)
        self._missing = [pair for pair in self._missing if pair not in late]
        ago = verdict.heard_ago
        at = NEVER if ago is None else now - ago
        self._any_heard_at, self._in_part = max(self._any_heard_at, at), verdict.in_part
        if self._heard_at == heard_at:  # else it is older than what was heard meanwhile
            if verdict.silent:
                self._owed.forget()
            self._decide(at if verdict.silent else None)
        self._first()

    def _decide(self, since: float | None) -> None:
        """`since`: of a silence of all."""
        before = self.trouble
        self._silent = since is not None
        self.since = since if since is not None or not self._in_part else NEVER
        changed = self.trouble != before
        if changed:
            self._changed()

    def _first(self) -> None:
        if not self.known:
            self.known = True
            self._changed()
