"""`Listening`: how long this process has listened to events, without the time in which it took none.

Events that wait in the queues are applied once the process reads them again, so only time spent listening shows that
an event is missing. However often a process is interrupted, the periods in which it listened add up. Pure: callers pass
the time in.
"""

from collections import deque


class Listening:
    """Remembers the latest periods of listening, as many as can be asked for."""

    def __init__(self, most: float) -> None:
        """`most`: the largest number of seconds that `since` is ever asked for."""
        self._most = most
        self._since: float | None = None
        self._before: deque[tuple[float, float]] = deque()
        """Earlier periods of listening: from, to."""
        self._listened = 0.0
        """The sum of `_before`, in seconds."""

    def told(self, now: float, *, listens: bool) -> None:
        """Records whether the process listens at `now`; repeating the same state does no harm."""
        if listens and self._since is None:
            self._since = now
        elif not listens and self._since is not None:
            self._before.append((self._since, now))
            self._listened += now - self._since
            self._since = None
            while self._listened - self._oldest > self._most:
                self._listened -= self._oldest
                self._before.popleft()

    def since(self, now: float, seconds: float) -> float | None:
        """When the latest `seconds` of listening began; None if it has not listened for so long in total."""
        left = seconds
        if self._since is not None:
            if now - self._since >= left:
                return now - left
            left -= now - self._since
        for began, ended in reversed(self._before):
            if ended - began >= left:
                return ended - left
            left -= ended - began
        return None

    @property
    def _oldest(self) -> float:
        began, ended = self._before[0]
        return ended - began
