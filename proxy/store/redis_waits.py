"""`Waits`: time limits for Redis' replies, which do not count delays of our own event loop.

A burst of calls delays the proxy, not Redis; if that counted as failures, the breaker would open when the cache is
needed most.
"""

import asyncio
import time
from collections.abc import Callable

from proxy.errors import RedisUnavailableError

_HICCUP = 0.005
_PATIENCE = 1.0  # seconds that a reply may wait for our own loop
_LAG_EVERY = 0.02
_TICK = 0.001  # seconds; uvloop's timers count in these, and fire up to half of one early


class Waits:
    """Replies that are waited for on one connection. `read_at()`: when the last reply was read from it. Times are those
    of `time.monotonic`, which is the event loop's clock, but uvloop tells that in whole milliseconds. Made inside the
    event loop.
    """

    def __init__(self, read_at: Callable[[], float]) -> None:
        self.lag = 0.0
        """Seconds that our own loop was late lately, while `watch` runs."""
        self._read_at = read_at
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[object], tuple[float, float]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0

    def begin(self, reply: asyncio.Future[object], begun: float, due: float) -> None:
        """Fails the reply with RedisUnavailableError when none came by `due`; `end` must follow. One timer stands for
        all: one for each call cost a hit 6 us.
        """
        self._waiting[reply] = (begun, due)
        if self._sweep is None:
            self._sweep_next(due)
        elif due < self._sweep_at:
            self._sweep.cancel()
            self._sweep_next(due)

    def end(self, reply: asyncio.Future[object]) -> None:
        """Nobody waits for it any more."""
        del self._waiting[reply]

    async def watch(self) -> None:
        """Measures how late our own loop is, until cancelled."""
        while True:
            due = time.monotonic() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self.lag = max(time.monotonic() - due, self.lag / 2)

    def _sweep_next(self, due: float) -> None:
        """`due` is kept beside the timer: what uvloop gives for one that is due at once has no `when()`."""
        self._sweep, self._sweep_at = self._loop.call_at(due, self._expire), due

    def _expire(self) -> None:
        """Ends the waits that are over, and comes again when the next one will be."""
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
        """Until when to wait longer, because it is our own loop that is late: then the reply may lie unread, or wait
        its turn behind those that Redis goes on sending. Else the wait ends.
        """
        blocked = now - due
        backlog = self.lag if self._read_at() > begun else 0.0
        late = max(blocked, backlog)
        if late > _HICCUP and now - begun < _PATIENCE:
            return now + 2 * late
        reply.set_exception(RedisUnavailableError(f"no answer within {(now - begun) * 1000:.0f} ms"))
        return due
