"""`Confirmed`: the invalidations that Redis has confirmed recently. State only; times are those of `time.monotonic`.

A deposed master may go on confirming invalidations, which are then lost. So they are repeated on its successor, and
remembered for longer than a master can be deposed without anybody noticing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy.caching.held import MOST_HELD, Intent

_REMEMBERED = 600.0
_AT_LEAST = 60.0
"""Seconds. Everything confirmed in that time is repeated, even if the master was known to be one more recently."""


@dataclass(slots=True)
class Confirmation:
    """The last confirmed invalidation of one tag."""

    at: float
    window_ms: int = 0
    intents: dict[bytes, float] = field(default_factory=dict)
    """Until when each write under way keeps the tag uncached, as Redis was told."""

    def orders(self) -> Iterable[Intent | None]:
        """The intents to set again on Redis; a single None if there is only the invalidation itself."""
        return [Intent(name, until) for name, until in self.intents.items()] or [None]


class Confirmed:
    """The tags confirmed last, in the order of their last confirmation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tags: OrderedDict[str, Confirmation] = OrderedDict()
        self._forgotten_at = float("-inf")

    def invalidated(self, tag: str, *, window_ms: int = 0, intents: Iterable[Intent] = ()) -> None:
        """Remembers that Redis has invalidated a tag now, with these intents."""
        now = self._clock()
        before = self._tags.pop(tag, None)
        standing = {} if before is None else {name: until for name, until in before.intents.items() if until > now}
        standing |= {intent.id: intent.until for intent in intents}
        # An intent with a time in the past is one that was cleared.
        standing = {name: until for name, until in standing.items() if until > now}
        self._tags[tag] = Confirmation(now, window_ms, standing)
        self._forget(now)

    def flushed(self) -> None:
        """Remembers that Redis has flushed the namespace now, which a successor would have to repeat."""
        self._tags.clear()
        self._forgotten_at = self._clock()

    def since(self, sure_at: float) -> list[tuple[str, Confirmation]] | None:
        """What was confirmed since `sure_at`, when Redis was last known to be the master; None if not all of it is
        remembered.
        """
        begin = min(sure_at, self._clock() - _AT_LEAST)
        if self._forgotten_at >= begin:
            return None
        return [(tag, each) for tag, each in self._tags.items() if each.at >= begin]

    def _forget(self, now: float) -> None:
        while self._tags:
            oldest = next(iter(self._tags.values()))
            if len(self._tags) <= MOST_HELD and now - oldest.at <= _REMEMBERED:
                return
            self._tags.popitem(last=False)
            self._forgotten_at = max(self._forgotten_at, oldest.at)
