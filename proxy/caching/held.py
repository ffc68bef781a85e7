"""`Held`: the invalidations that Redis has not confirmed yet. State only; `Invalidations` sends the requests to Redis.

Rules:
    hold      a tag is held until an attempt has succeeded that began after the tag was last asked for
    too many  beyond MOST_HELD tags, one flush of the namespace replaces all further ones
    share     a flush is of all services or of some; the shares of several requests add up until it begins
    flush     each request has a number; a flush that succeeds serves all requests made before it began
    intents   of a tag's writes are held with it; for each intent, Redis will be told the state asked for last
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy.calls.tags import Description

log = logging.getLogger(__name__)

MOST_HELD = 10_000
_MOST_INTENTS = 16
"""The most held intents of one tag. If more writes overlap while Redis is away, some intents are left to expire."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A write intent. It stands until `until`, a time of `time.monotonic`; a time in the past clears it."""

    id: bytes
    until: float
    announced: bool = False
    """An event should follow the write, and Redis is to keep a note of that."""


@dataclass(slots=True)
class HeldTag:
    """What Redis is to be told about one tag. `asked` counts the requests: compare it before and after an attempt."""

    asked: int = 0
    window_ms: int = 0
    intents: dict[bytes, float] = field(default_factory=dict)
    unreported: Description | None = None
    """Describes an own write that nobody waits for: it is counted and logged once Redis has its invalidation."""
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that is wanted or under way."""

    reason: str
    services: tuple[str, ...]
    """Empty: of all services."""
    since: float
    """When it was asked for, by `time.monotonic`."""


class Held:
    """The held tags and the flush that is wanted, if any. Must be made inside the event loop."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        """`tell` is called with the number of held tags each time that it may have changed."""
        self._tell = tell
        self._tags: dict[str, HeldTag] = {}
        self._asked = 0
        self._flushed = 0
        self._flush_due = math.inf
        self._flush_since = 0.0
        self._share: frozenset[str] | None = frozenset()
        self.flush_share: frozenset[str] | None = None
        """The services whose answers the flush that began last removes; None means all services."""
        self._progress = asyncio.Event()
        self.wanted = asyncio.Event()
        """Set while anything is held."""
        self.flush_reason, self.flush_source = "", ""
        """The reason and source of the flush that was asked for last."""

    def __contains__(self, tag: str) -> bool:
        """Whether Redis' entries under this tag must not be trusted."""
        return self._asked > self._flushed or (bool(self._tags) and tag in self._tags)

    @property
    def count(self) -> int:
        """How many tags are held; a flush that is wanted or under way counts as one."""
        return len(self._tags) + (self._asked > self._flushed)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that are held, in the order in which they are to be retried."""
        return tuple(self._tags)

    def find(self, tag: str) -> HeldTag | None:
        """What is held for a tag; None if nothing is, or only a flush."""
        return self._tags.get(tag)

    def hold(
        self, tag: str, *, window_ms: int = 0, intent: Intent | None = None, unreported: Description | None = None
    ) -> None:
        """Keeps an invalidation until `done`, or asks for a flush if too many tags are held."""
        if tag not in self._tags and len(self._tags) >= MOST_HELD:
            # These must be writes: far fewer events and operators' commands are under way at once.
            self.want_flush(f"more than {MOST_HELD} models are waiting for Redis", due=0.0, source="write")
            return
        held = self._tags.setdefault(tag, HeldTag())
        held.asked += 1
        held.window_ms = max(held.window_ms, window_ms)
        held.unreported = unreported if unreported is not None else held.unreported
        if intent is not None:
            held.intents[intent.id] = intent.until
            if len(held.intents) > _MOST_INTENTS:
                del held.intents[next(iter(held.intents))]
        self._changed()

    def amend(self, tag: str, intent: Intent) -> None:
        """Updates a held intent that another attempt is about to set or clear, so that a retry does not undo that."""
        held = self._tags.get(tag)
        if held is not None and intent.id in held.intents:
            held.intents[intent.id] = intent.until

    def done(self, tag: str, held: HeldTag, asked: int) -> bool:
        """Releases a tag that Redis has taken as asked for up to `asked`; False if more was asked for meanwhile."""
        if held.asked != asked:
            return False
        if self._tags.get(tag) is held:
            del self._tags[tag]
        if not held.done.done():
            held.done.set_result(None)
        self._changed()
        return True

    def postpone(self, tag: str) -> None:
        """Moves a tag to the end of `tags`, so that a tag that Redis refuses does not delay the others."""
        if tag in self._tags:
            self._tags[tag] = self._tags.pop(tag)

    async def taken(self, tag: str) -> None:
        """Waits until Redis has taken what is held for this tag now."""
        held = self._tags.get(tag)
        if held is not None:
            await asyncio.shield(held.done)
        else:
            await self.flushed(self._asked)

    def want_flush(self, reason: str, *, due: float, source: str, service: str = "") -> int:
        """Asks for a flush and returns its number, for `flushed`.

        `due` is when it may begin, by `time.monotonic`, unless an earlier request is due sooner. An empty `service`
        means all services.
        """
        if self._flush_due == math.inf:
            told = {"reason": reason, **({"service": service} if service else {})}
            log.warning(
                "the cache of a service will be flushed" if service else "the whole cache will be flushed", extra=told
            )
        if self._asked <= self._flushed:
            self._flush_since = time.monotonic()
        self._share = None if not service or self._share is None else self._share | {service}
        self.flush_reason, self.flush_source = reason, source
        self._flush_due = min(self._flush_due, due)
        self._asked += 1
        self._changed()
        return self._asked

    @property
    def flush(self) -> "Flush | None":
        """The flush that is wanted or under way."""
        if self._asked <= self._flushed:
            return None
        share = self.flush_share if self._flush_due == math.inf else self._share
        return Flush(self.flush_reason, tuple(sorted(share or ())), self._flush_since)

    def hurry(self) -> None:
        """Makes a flush that is wanted due now."""
        if self._asked > self._flushed:
            self._flush_due = 0.0

    def begin_flush(self, now: float) -> int:
        """The number of the last request that a flush beginning now serves; 0 if none is due."""
        if now < self._flush_due:
            return 0
        self._flush_due = math.inf
        self.flush_share, self._share = self._share, frozenset()
        return self._asked

    def end_flush(self, number: int, *, done: bool) -> None:
        """Notes that a flush has ended; one that failed (`done` is false) is due again at once."""
        if done:
            self._flushed = max(self._flushed, number)
            self._progress.set()  # wakes everything that waits now; later waiters wait for the next flush
            self._progress.clear()
        else:
            self._flush_due = 0.0
            both = self.flush_share, self._share
            self._share = None if both[0] is None or both[1] is None else both[0] | both[1]
        self._changed()

    async def flushed(self, number: int) -> None:
        """Waits until a flush that serves the request of this number is done."""
        while self._flushed < number:
            await self._progress.wait()

    def asked(self) -> Iterable[tuple[str, HeldTag, int]]:
        """A copy of what is held: each tag, its state, and its `asked` count, to pass to `done` later."""
        return [(tag, held, held.asked) for tag, held in self._tags.items()]

    def _changed(self) -> None:
        if self.count:
            self.wanted.set()
        else:
            self.wanted.clear()
        self._tell(self.count)
