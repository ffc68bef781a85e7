"""`Confirmed`: the invalidations that Redis has confirmed recently. State only; times are those of `time.monotonic`.

A deposed master may confirm invalidations for a while that are then lost. So they are repeated on its successor, and
remembered for longer than a master can be deposed without being noticed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy.caching.held import MOST_HELD, Intent

_REMEMBERED = 600.0
_AT_LEAST = 60.0
"""Seconds of which everything is done again, however sure the master was."""


@dataclass(slots=True)
class Confirmation:
    """Of one tag."""

    at: float
    window_ms: int = 0
    intents: dict[bytes, float] = field(default_factory=dict)
    """Until when each write under way keeps the tag uncached, as far as Redis was told."""

    def orders(self) -> Iterable[Intent | None]:
        """What Redis is to be told again."""
        return [Intent(name, until) for name, until in self.intents.items()] or [None]


class Confirmed:
    """Of the last tags, in the order of their last confirmation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tags: OrderedDict[str, Confirmation] = OrderedDict()
        self._forgotten_at = float("-inf")

    def invalidated(self, tag: str, *, window_ms: int = 0, intents: Iterable[Intent] = ()) -> None:
        """Redis has it now."""
        now = self._clock()
        before = self._tags.pop(tag, None)
        standing = {} if before is None else {name: until for name, until in before.intents.items() if until > now}
        standing |= {intent.id: intent.until for intent in intents}
        # A time that has passed has cleared it.
        standing = {name: until for name, until in standing.items() if until > now}
        self._tags[tag] = Confirmation(now, window_ms, standing)
        self._forget(now)

    def flushed(self) -> None:
        """Redis has removed everything of the namespace: on its successor that is to be done again."""
        self._tags.clear()
        self._forgotten_at = self._clock()

    def since(self, sure_at: float) -> list[tuple[str, Confirmation]] | None:
        """What was confirmed since a master was surely one; None: more than is remembered."""
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
