"""`Failing`: logs once when a service is connected but answers with failures, and once when that is over.

It begins with the fifth failure in a row, or when at least half of the answers of ten seconds, and at least five, are
failures. It is over with the first good answer after five seconds without a failure.
"""

import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

_ENOUGH = 5
_WINDOW = 10.0
_QUIET = 5.0
UNSUCCESSFUL = "success = false"
"""OK for gRPC, and a failure by the message."""
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


class Failing:
    """Told of each answer. `tell` is the metric; `clock` is in seconds and only goes forward. `called` is the service
    in log lines.
    """

    def __init__(
        self,
        tell: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
        called: str = "the media service",
    ) -> None:
        self.connected: Callable[[], bool] = lambda: True
        """While it is not, that is said elsewhere, and failures are no news."""
        self._tell = tell
        self._clock = clock
        self._called = called
        self._since: float | None = None
        self._last, self._last_at = "", 0.0
        self._begun, self._good, self._failed, self._in_a_row = clock(), 0, 0, 0
        tell(False)

    @property
    def reason(self) -> str:
        """What is wrong, in one line; empty: nothing."""
        return "" if self._since is None else f"it answers with failures, the last one {self._last}"

    @property
    def away(self) -> bool:
        """It fails in such a way that stored answers may stand in."""
        return self._since is not None and self._last in _AWAY

    def good(self, count: int = 1) -> None:
        """It answered as it should."""
        now = self._turn()
        self._good += count
        self._in_a_row = 0
        if self._since is not None and now - self._last_at >= _QUIET:
            away, self._since = now - self._since, None
            self._tell(False)
            fields = {"dependency": "upstream", "failing_seconds": round(away, 1)}
            _log.info("%s answers without failures again after %.1f s", self._called, away, extra=fields)

    def failed(self, why: str, count: int = 1) -> None:
        """It answered with this status, or with UNSUCCESSFUL."""
        now = self._turn()
        self._failed += count
        self._in_a_row += count
        self._last, self._last_at = why, now
        many = self._in_a_row >= _ENOUGH or (self._failed >= _ENOUGH and self._failed >= self._good)
        if self._since is None and many and self.connected():
            self._since = now
            self._tell(True)
            fields = {"dependency": "upstream", "failures": self._failed, "good_answers": self._good}
            _log.warning("%s answers with failures: %s", self._called, why, extra=fields)

    def _turn(self) -> float:
        """Begins to count anew where the time is up; the time."""
        now = self._clock()
        if now - self._begun >= _WINDOW:
            self._begun, self._good, self._failed = now, 0, 0
        return now
