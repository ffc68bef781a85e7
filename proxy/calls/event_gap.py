"""`EventGap`: since when media events may be missing, and how long entries count meanwhile (CACHE_TTL_WITHOUT_EVENTS).

Rules:
    opened   when the event consumer starts (since an unknown time: minus infinity), and when it loses RabbitMQ
    closed   once events arrive again and any owed flush is done, since entries from before it may be outdated
    open     an entry is fresh for `ttl` from its fetch or from the loss, whichever is later, but never for longer than
             without the gap; new entries are stored with no longer TTL, so that processes which do not see this gap
             respect it as well
Such an entry has expired like any other: the stale allowances count from then on. A process only knows what its own
consumer sees. Without a consumer (no RABBITMQ_ADDR) there is no gap: the TTL was chosen for that case.
"""

import math
from collections.abc import Callable

NEVER = -math.inf
"""Events have not arrived yet in this process, so that nobody can tell which of those before it were applied."""


class EventGap:
    """Closed at first. Times are seconds of `clock`, or milliseconds of Redis' clock where they are named `_ms`."""

    def __init__(self, ttl: float, clock: Callable[[], float]) -> None:
        """`ttl` in seconds; `clock` only goes forward."""
        self.ttl = ttl
        self._clock = clock
        self._since: float | None = None

    @property
    def seconds(self) -> float | None:
        """For how long it has been open; infinite when events never arrived, None while it is closed."""
        return None if self._since is None else self._clock() - self._since

    def opened(self, since: float) -> None:
        """Events may be missing from then on; one that is open already stays open since its own beginning."""
        if self._since is None:
            self._since = since

    def closed(self) -> None:
        """Nothing that is stored now has missed an event."""
        self._since = None

    def stored_for(self, ttl: float) -> float:
        """The TTL in seconds of what is stored now."""
        return ttl if self._since is None else min(ttl, self.ttl)

    def lost_ms(self, now_ms: float) -> int | None:
        """When events were lost; 0 when they never arrived, None while they do."""
        seconds = self.seconds
        return None if seconds is None else int(max(0.0, now_ms - seconds * 1000))

    def fresh_until_ms(self, born_ms: int, fresh_until_ms: int, now_ms: float) -> int:
        """Until when an entry is fresh that would be so until `fresh_until_ms`."""
        if self._since is None:  # nearly always, at every hit
            return fresh_until_ms
        lost_ms = self.lost_ms(now_ms) or 0
        return min(fresh_until_ms, max(born_ms, lost_ms) + int(self.ttl * 1000))
