"""`Listening`: for how long this process has taken events, not counted the time in which it took none. Pure; time is
passed in.

What waits in the queues comes once they are read again. So only time spent listening tells that an event does not come;
and interruptions, however many, must not mean that nobody ever finds that out.
"""

from collections import deque


class Listening:
    """Remembers as much as is asked for, the latest."""

    def __init__(self, most: float) -> None:
        """`most`: seconds of listening that are ever asked for."""
        self._most = most
        self._since: float | None = None
        self._before: deque[tuple[float, float]] = deque()
        """When it listened earlier: from, to."""
        self._listened = 0.0
        """Seconds in `_before`."""

    def told(self, now: float, *, listens: bool) -> None:
        """Whether it listens now; may be said as often as you like."""
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
        """When the last so many seconds of listening began; None: it has not listened for so long."""
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
