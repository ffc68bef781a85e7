"""`EventGap`: since when media events may be missing, and how long entries count meanwhile (CACHE_TTL_WITHOUT_EVENTS).

Rules:
    opened   when the event consumer starts (since an unknown time: minus infinity), and when it loses RabbitMQ
    closed   once events arrive again and any owed flush is done, since entries from before it may be outdated
    open     an entry is fresh for `ttl` from its fetch or from the loss, whichever is later, but never for longer than
             without the gap; new entries get no longer TTL either, so that processes which do not see this gap respect
             it too
After that, the entry has expired like any other, and the stale allowances count from there. A process only knows what
its own consumer sees. Without a consumer (no RABBITMQ_ADDR) there is no gap: the TTL was chosen for that case.
"""

import math
from collections.abc import Callable

NEVER = -math.inf
"""The beginning of a gap in which no event has arrived yet, so nobody can tell which earlier ones were applied."""


class EventGap:
    """Closed at first. Times are seconds of `clock`, or milliseconds of Redis' clock if their names end in `_ms`."""

    def __init__(self, ttl: float, clock: Callable[[], float]) -> None:
        """`ttl` in seconds; `clock` only goes forward."""
        self.ttl = ttl
        self._clock = clock
        self._since: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it has been open: infinite if events never arrived, None while it is closed."""
        return None if self._since is None else self._clock() - self._since

    def opened(self, since: float) -> None:
        """Opens the gap: events may be missing from `since` on. A gap that is already open keeps its beginning."""
        if self._since is None:
            self._since = since

    def closed(self) -> None:
        """Closes the gap: nothing that is stored now has missed an event."""
        self._since = None

    def stored_for(self, ttl: float) -> float:
        """The TTL, in seconds, of an answer stored now that would otherwise have `ttl`."""
        return ttl if self._since is None else min(ttl, self.ttl)

    def lost_ms(self, now_ms: float) -> int | None:
        """The time when events were lost: 0 if they never arrived, None while the gap is closed."""
        seconds = self.seconds
        return None if seconds is None else int(max(0.0, now_ms - seconds * 1000))

    def fresh_until_ms(self, born_ms: int, fresh_until_ms: int, now_ms: float) -> int:
        """The time until which an entry is fresh that would be fresh until `fresh_until_ms` without a gap."""
        if self._since is None:  # nearly every hit
            return fresh_until_ms
        lost_ms = self.lost_ms(now_ms) or 0
        return min(fresh_until_ms, max(born_ms, lost_ms) + int(self.ttl * 1000))
