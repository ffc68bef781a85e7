"""`Held`: the invalidations that Redis has not confirmed yet. State only; `Invalidations` does the asking.

Rules:
    hold      a tag is held until an attempt that began after it was last asked for has succeeded
    too many  beyond MOST_HELD tags, one flush of the namespace stands for every further one
    share     a flush is of all services or of some, whose names add up until it begins
    flush     is numbered as it is asked for; one that succeeded is done for all that were asked for before it began
    intents   of one tag's writes are held with it; for each, what was asked for last is what Redis will be told
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy.calls.tags import Description

log = logging.getLogger(__name__)

MOST_HELD = 10_000
_MOST_INTENTS = 16
"""Of one tag; more overlapping writes than that, all while Redis is away, leave intents that end by themselves."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A write intent. It stands until a time of `time.monotonic`; a time that has passed clears it."""

    id: bytes
    until: float
    announced: bool = False
    """An event is to follow its write, of which Redis is to take a note."""


@dataclass(slots=True)
class HeldTag:
    """What Redis is to be told of one tag. Compare `asked` before and after an attempt."""

    asked: int = 0
    window_ms: int = 0
    intents: dict[bytes, float] = field(default_factory=dict)
    unreported: Description | None = None
    """Of an own write, which nobody waits for: to be counted and logged when Redis has it."""
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Held:
    """Made inside the event loop."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        """`tell` hears how much is held each time that changes."""
        self._tell = tell
        self._tags: dict[str, HeldTag] = {}
        self._asked = 0
        self._flushed = 0
        self._flush_due = math.inf
        self._share: frozenset[str] | None = frozenset()
        self.flush_share: frozenset[str] | None = None
        """The services whose answers the flush that began last removes; None: of all."""
        self._progress = asyncio.Event()
        self.wanted = asyncio.Event()
        """Set while anything is held."""
        self.flush_reason, self.flush_source = "", ""
        """Of the flush that was asked for last."""

    def __contains__(self, tag: str) -> bool:
        """Whether what Redis has of this tag must not be trusted."""
        return self._asked > self._flushed or (bool(self._tags) and tag in self._tags)

    @property
    def count(self) -> int:
        """How many tags are held; a flush that is wanted or under way counts as one."""
        return len(self._tags) + (self._asked > self._flushed)

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self._tags)

    def find(self, tag: str) -> HeldTag | None:
        """What is to be done for a tag; None: nothing, or a flush stands for it."""
        return self._tags.get(tag)

    def hold(
        self, tag: str, *, window_ms: int = 0, intent: Intent | None = None, unreported: Description | None = None
    ) -> None:
        """Keeps an invalidation until `done` or `flush_done`."""
        if tag not in self._tags and len(self._tags) >= MOST_HELD:
            # Of events and operators' orders far fewer are under way at once: these are writes.
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
        """An intent is about to be set or cleared by somebody else: what is held must not undo that later."""
        held = self._tags.get(tag)
        if held is not None and intent.id in held.intents:
            held.intents[intent.id] = intent.until

    def done(self, tag: str, held: HeldTag, asked: int) -> bool:
        """Redis took what was asked for up to `asked`; False when more was asked for meanwhile."""
        if held.asked != asked:
            return False
        if self._tags.get(tag) is held:
            del self._tags[tag]
        if not held.done.done():
            held.done.set_result(None)
        self._changed()
        return True

    def postpone(self, tag: str) -> None:
        """It goes to the end of `tags`, so that what Redis refuses holds up nothing else."""
        if tag in self._tags:
            self._tags[tag] = self._tags.pop(tag)

    async def taken(self, tag: str) -> None:
        """Returns once Redis has taken what is held for this tag now."""
        held = self._tags.get(tag)
        if held is not None:
            await asyncio.shield(held.done)
        else:
            await self.flushed(self._asked)

    def want_flush(self, reason: str, *, due: float, source: str, service: str = "") -> int:
        """Asks for a flush at a time of `time.monotonic`, or earlier; its number. `service`: whose; empty: of all."""
        if self._flush_due == math.inf:
            told = {"reason": reason, **({"service": service} if service else {})}
            log.warning(
                "the cache of a service will be flushed" if service else "the whole cache will be flushed", extra=told
            )
        self._share = None if not service or self._share is None else self._share | {service}
        self.flush_reason, self.flush_source = reason, source
        self._flush_due = min(self._flush_due, due)
        self._asked += 1
        self._changed()
        return self._asked

    def hurry(self) -> None:
        """A flush that is wanted is due now."""
        if self._asked > self._flushed:
            self._flush_due = 0.0

    def begin_flush(self, now: float) -> int:
        """The number up to which a flush that begins now counts; 0 when none is due."""
        if now < self._flush_due:
            return 0
        self._flush_due = math.inf
        self.flush_share, self._share = self._share, frozenset()
        return self._asked

    def end_flush(self, number: int, *, done: bool) -> None:
        """A flush that was begun has ended; one that was not done is due again at once."""
        if done:
            self._flushed = max(self._flushed, number)
            self._progress.set()  # wakes all who wait now; those who come later wait for the next
            self._progress.clear()
        else:
            self._flush_due = 0.0
            both = self.flush_share, self._share
            self._share = None if both[0] is None or both[1] is None else both[0] | both[1]
        self._changed()

    async def flushed(self, number: int) -> None:
        """Returns once a flush that counts for this number is done."""
        while self._flushed < number:
            await self._progress.wait()

    def asked(self) -> Iterable[tuple[str, HeldTag, int]]:
        """A copy of what is held, with how often each was asked for: for `done`, later."""
        return [(tag, held, held.asked) for tag, held in self._tags.items()]

    def _changed(self) -> None:
        if self.count:
            self.wanted.set()
        else:
            self.wanted.clear()
        self._tell(self.count)
