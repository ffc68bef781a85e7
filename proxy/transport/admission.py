"""`Admission`: how many calls are in progress, at most how many, and how long there has been none.

Only callers' calls count. Health checks and reflection do not: a health watcher stays for as long as we live.
"""

import asyncio
import time
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
        self._clock = clock
        self._sleep = sleep
        self._last = clock()
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> bool:
        """A call arrived; False: there are too many."""
        if self.in_progress >= self.limit:
            return False
        self.in_progress += 1
        self._none.clear()
        return True

    def leave(self) -> None:
        """A call that entered has ended."""
        self.in_progress -= 1
        self._last = self._clock()
        if not self.in_progress:
            self._none.set()

    async def idle(self, seconds: float) -> None:
        """Returns once, from now on, no call has been in progress or arrived for so long."""
        self._last = self._clock()
        while True:
            await self._none.wait()
            left = self._last + seconds - self._clock()
            if left <= 0:
                return
            await self._sleep(left)
