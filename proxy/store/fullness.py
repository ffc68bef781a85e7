"""`Fullness`: logs that a Redis has no memory left and may evict nothing.

Such a Redis answers and accepts invalidations, so it stays in use, but it stores nothing new. All further requests are
misses, and without a log line nobody would know why.
    full   from the first refusal for lack of memory, which is logged
    over   a minute after the last refusal
"""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_SIGN = "used memory > 'maxmemory'"
_OVER_AFTER = 60.0  # seconds
FULL = "Redis is full (maxmemory) and may not evict anything, so no answers are stored; see maxmemory-policy"


class Fullness:
    """The memory of one server, judged by its replies."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._over_at = -float("inf")

    @property
    def trouble(self) -> str:
        """What is wrong; empty if there is room, as far as is known."""
        return FULL if self._clock() < self._over_at else ""

    def refused(self, error: Exception) -> None:
        """Takes an error of any kind that Redis replied with."""
        if _SIGN not in str(error):
            return
        if not self.trouble:
            log.warning("%s", FULL, extra={"dependency": "redis"})
        self._over_at = self._clock() + _OVER_AFTER
