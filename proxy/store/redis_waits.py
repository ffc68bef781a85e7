"""`Waits`: time limits for Redis' replies that do not count delays of the proxy's own event loop.

A burst of calls delays the proxy, not Redis. If such delays counted as failures, the breaker would open when the cache
is needed most.
"""

import asyncio
import time
from collections.abc import Callable

from proxy.errors import RedisUnavailableError

_HICCUP = 0.005
_PATIENCE = 1.0  # seconds that a reply may wait for a late event loop
_LAG_EVERY = 0.02
_TICK = 0.001  # seconds; the resolution of uvloop's timers, which fire up to half of it early


class Waits:
    """The awaited replies of one connection. `read_at()` is when the last reply was read from it. Times are those of
    `time.monotonic`, which is also the event loop's clock, though uvloop's has a resolution of one millisecond. It is
    created inside the event loop.
    """

    def __init__(self, read_at: Callable[[], float]) -> None:
        self.lag = 0.0
        """By how many seconds the event loop has recently been late; measured while `watch` runs."""
        self._read_at = read_at
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[object], tuple[float, float]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0

    def begin(self, reply: asyncio.Future[object], begun: float, due: float) -> None:
        """Fails the reply with RedisUnavailableError if it has not arrived by `due`; `end` must follow. One timer
        serves all replies: a timer for each cost 6 us of a hit.
        """
        self._waiting[reply] = (begun, due)
        if self._sweep is None:
            self._sweep_next(due)
        elif due < self._sweep_at:
            self._sweep.cancel()
            self._sweep_next(due)

    def end(self, reply: asyncio.Future[object]) -> None:
        """Nobody waits for the reply any longer."""
        del self._waiting[reply]

    async def watch(self) -> None:
        """Measures how late the event loop is, until cancelled."""
        while True:
            due = time.monotonic() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self.lag = max(time.monotonic() - due, self.lag / 2)

    def _sweep_next(self, due: float) -> None:
        """Sets the timer. `due` is stored too, since uvloop's handle of a timer that is due at once has no `when()`."""
        self._sweep, self._sweep_at = self._loop.call_at(due, self._expire), due

    def _expire(self) -> None:
        """Ends the waits whose time is up, and sets the timer for the next one."""
        self._sweep = None
        now = time.monotonic()
        left = []
        for reply, (begun, due) in list(self._waiting.items()):
            later = due if reply.done() or now + _TICK < due else self._prolonged(reply, begun, due, now)
            if not reply.done():
                self._waiting[reply] = (begun, later)
                left.append(later)
        if left:
            self._sweep_next(min(left))

    def _prolonged(self, reply: asyncio.Future[object], begun: float, due: float, now: float) -> float:
        """The new time limit if the event loop is late: then the reply may be unread, or queued behind others that
        Redis is still sending. Otherwise the wait ends.
        """
        blocked = now - due
        backlog = self.lag if self._read_at() > begun else 0.0
        late = max(blocked, backlog)
        if late > _HICCUP and now - begun < _PATIENCE:
            return now + 2 * late
        reply.set_exception(RedisUnavailableError(f"no answer within {(now - begun) * 1000:.0f} ms"))
        return due
