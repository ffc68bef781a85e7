"""`Admission`: how many calls are in progress, the maximum, and how long there has been none.

Only callers' calls count. Health checks and reflection do not: a health watcher stays for as long as the process.

The last tenth of the places is a reserve. A connection gets one of them if it holds none, or less than a tenth of the
free ones: to lock others out, a caller needs as many connections as there are places. Places of a connection are
counted only in the reserve, so that it costs nothing before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable


class Admission:
    """Every `enter()` that returned True is followed by one `leave()`."""

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

    def enter(self, peer: Callable[[], str]) -> bool:
        """A call arrived on the connection that `peer()` names; False: there are too many."""
        if self.in_progress >= self._common and not self._enter_reserve(peer()):
            return False
        self.in_progress += 1
        self._none.clear()
        return True

    def enter_common(self) -> bool:
        """As `enter`, for who does not take one of the last places."""
        if self.in_progress >= self._common:
            return False
        self.in_progress += 1
        self._none.clear()
        return True

    def _enter_reserve(self, peer: str) -> bool:
        left = self.limit - self.in_progress
        if self._reserved[peer] >= min(left, max(1, left // 10)):
            return False
        self._reserved[peer] += 1
        return True

    def leave(self, peer: Callable[[], str]) -> None:
        """A call that entered has ended."""
        if self._reserved:
            # Places are alike: whichever of its calls ended, the connection holds one less.
            self._reserved -= Counter((peer(),))
        self.in_progress -= 1
        self.last = self._clock()
        if not self.in_progress:
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
