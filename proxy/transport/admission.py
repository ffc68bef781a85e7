"""`Admission`: how many calls are in progress, how many may be, and for how long there has been none.

Health checks and reflection do not count: a health watcher stays for as long as the process.

The last tenth of the places is a reserve. A connection gets a place in it if it holds none there, or fewer than a tenth
of those that are free, so that a caller needs as many connections as there are places to lock others out. Places are
counted by connection only in the reserve, so that this costs nothing before.

A call's peer is asked for only when the call arrives: gRPC's core may crash the process if it is asked for the peer of
a call that has ended.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

COMMON = ""
"""The name of every place outside the reserve."""


class Admission:
    """Every `enter()` that returned a place is followed by one `leave()` with that place."""

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
        """Occupied places of the reserve by connection, without zeros."""
        self._clock = clock
        self._sleep = sleep
        self.last = clock()
        self._none = asyncio.Event()
        self._none.set()

    def enter(self, peer: Callable[[], str]) -> str | None:
        """Takes a place for a call that arrives on the connection that `peer()` names. Returns COMMON, or the
        connection's name for a place in the reserve, or None if there are too many calls."""
        if self.enter_common():
            return COMMON
        if not self._enter_reserve(connection := peer()):
            return None
        self.in_progress += 1
        return connection

    def enter_common(self) -> bool:
        """Takes a place outside the reserve; False if there is none."""
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
        """Releases the place of a call that has ended."""
        if place != COMMON:
            self._reserved -= Counter((place,))
        self.in_progress -= 1
        if not self.in_progress:
            self.last = self._clock()
            self._none.set()

    async def idle(self, seconds: float) -> None:
        """Returns when no call has arrived or been in progress for `seconds`, counted from now."""
        self.last = self._clock()
        while True:
            await self._none.wait()
            left = self.last + seconds - self._clock()
            if left <= 0:
                return
            await self._sleep(left)
