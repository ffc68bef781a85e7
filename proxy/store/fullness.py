"""`Fullness`: a Redis that has no memory left and may evict nothing. It answers and takes invalidations, so that it
stays in use, and stores nothing more: what is no hit already is a miss, and without a word nobody would know why.

    full   a line at the first refusal for want of memory
    over   a minute after the last one
"""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_SIGN = "used memory > 'maxmemory'"
_OVER_AFTER = 60.0  # seconds
FULL = "Redis is full (maxmemory) and may not evict anything, so no answers are stored; see maxmemory-policy"


class Fullness:
    """Of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._over_at = -float("inf")

    @property
    def trouble(self) -> str:
        """What is wrong; empty: there is room, as far as is known."""
        return FULL if self._clock() < self._over_at else ""

    def refused(self, error: Exception) -> None:
        """Redis answered with an error of any kind."""
        if _SIGN not in str(error):
            return
        if not self.trouble:
            log.warning("%s", FULL, extra={"dependency": "redis"})
        self._over_at = self._clock() + _OVER_AFTER
