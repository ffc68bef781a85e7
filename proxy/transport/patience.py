"""`Patience`: the maximum time to wait for a request that its caller sends slowly. One timer serves all waiting calls.

(`asyncio.timeout` needs a timer for each call: some 20 us for each call without a deadline, most of it for cancelled
timers that have not been cleared away yet.)
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")

_SHARE = 0.1
"""Of the time that is granted: so late at most does the timer look."""


class Patience:
    """Grants `seconds`; None: as long as it takes. Made inside the event loop."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Task[object], float] = {}
        """In the order of their beginning, which is the order of their end."""
        self._expired: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[_T]) -> _T:
        """TimeoutError when it took longer, then it is cancelled; by the rules of `asyncio.timeout`."""
        task = asyncio.current_task()
        if self._seconds is None or task is None:
            return await awaitable
        cancelling = task.cancelling()
        self._due[task] = time.monotonic() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds * (1 + _SHARE), self._look)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task in self._expired and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._due.pop(task, None)
            self._expired.discard(task)

    def _look(self) -> None:
        """Ends the waits that are over, and comes again for the rest."""
        self._timer = None
        now = time.monotonic()
        for task, due in list(self._due.items()):
            if due > now:
                self._timer = self._loop.call_at(due + _SHARE * (self._seconds or 0.0), self._look)
                return
            del self._due[task]
            self._expired.add(task)
            task.cancel()
