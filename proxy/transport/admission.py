"""`Admission`: how many calls are in progress, the maximum, and how long there has been none.

Only callers' calls count. Health checks and reflection do not: a health watcher stays for as long as the process.

The last tenth of the places is a reserve. A connection gets one of them if it holds none, or less than a tenth of the
free ones: to lock others out, a caller needs as many connections as there are places. Places of a connection are
counted only in the reserve, so that it costs nothing before.

Whose a call is can be asked when it comes only: gRPC's core may crash the process when it is asked for the peer of a
call that has ended.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

COMMON = ""
"""A place that is not in the reserve."""


class Admission:
    """Every `enter()` that gave a place is followed by one `leave()` of it."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.limit = limit
        self.in_progress = 0
        self._common = limit - limit // 10
        self._reserved = Counter[str]()
        """Places of the reserve by connection; never 0."""
        self._clock = clock
        self._sleep = sleep
        self.last = clock()
        self._none = asyncio.Event()
        self._none.set()

    def enter(self, peer: Callable[[], str]) -> str | None:
        """A call arrived on the connection that `peer()` names. Its place: COMMON, or in the reserve, under the
        connection's name; None: there are too many."""
        if self.enter_common():
            return COMMON
        if not self._enter_reserve(connection := peer()):
            return None
        self.in_progress += 1
        return connection

    def enter_common(self) -> bool:
        """As `enter`, for who takes none of the last places; False: there is no other."""
        if self.in_progress >= self._common:
            return False
        if not self.in_progress:
            self._none.clear()
        self.in_progress += 1
        return True

    def _enter_reserve(self, peer: str) -> bool:
        left = self.limit - self.in_progress
        if self._reserved[peer] >= min(left, max(1, left // 10)):
            return False
        self._reserved[peer] += 1
        return True

    def leave(self, place: str = COMMON) -> None:
        """A call that entered has ended."""
        if place != COMMON:
            self._reserved -= Counter((place,))
        self.in_progress -= 1
        if not self.in_progress:
            self.last = self._clock()
            self._none.set()

    async def idle(self, seconds: float) -> None:
        """Returns once, from now on, no call has been in progress or arrived for so long."""
        self.last = self._clock()
        while True:
            await self._none.wait()
            left = self.last + seconds - self._clock()
            if left <= 0:
                return
            await self._sleep(left)
