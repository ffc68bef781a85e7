"""`Failing`: logs once when a connected service begins to answer with failures, and once when it answers well again.

A service is failing from the fifth failure in a row, or once at least five answers, and at least half of all answers,
of a window of ten seconds are failures. It is well again with the first good answer after five seconds without a
failure.
"""

import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

_ENOUGH = 5
_WINDOW = 10.0
_QUIET = 5.0
UNSUCCESSFUL = "success = false"
"""Names the failure of an answer whose gRPC status is OK and whose message reports a failure."""
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


class Failing:
    """Hears of each answer of one service. `tell` sets the metric, `clock` returns monotonic seconds, and `called` is
    what log lines call the service.
    """

    def __init__(
        self,
        tell: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
        called: str = "the media service",
    ) -> None:
        self.connected: Callable[[], bool] = lambda: True
        """Whether there is a connection. Without one, which is reported elsewhere, a service does not count as
        failing."""
        self._tell = tell
        self._clock = clock
        self._called = called
        self._since: float | None = None
        self._last, self._last_at = "", 0.0
        self._begun, self._good, self._failed, self._in_a_row = clock(), 0, 0, 0
        tell(False)

    @property
    def reason(self) -> str:
        """What is wrong, in one line; "" if the service is not failing."""
        return "" if self._since is None else f"it answers with failures, the last one {self._last}"

    @property
    def away(self) -> bool:
        """Whether it fails with a status for which expired answers may be served in place of its own."""
        return self._since is not None and self._last in _AWAY

    def good(self, count: int = 1) -> None:
        """Counts `count` good answers."""
        now = self._turn()
        self._good += count
        self._in_a_row = 0
        if self._since is not None and now - self._last_at >= _QUIET:
            away, self._since = now - self._since, None
            self._tell(False)
            fields = {"dependency": "upstream", "failing_seconds": round(away, 1)}
            _log.info("%s answers without failures again after %.1f s", self._called, away, extra=fields)

    def failed(self, why: str, count: int = 1) -> None:
        """Counts `count` failures; `why` is the gRPC status or `UNSUCCESSFUL`."""
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
        """Begins a new window if the present one is over; returns the time."""
        now = self._clock()
        if now - self._begun >= _WINDOW:
            self._begun, self._good, self._failed = now, 0, 0
        return now
