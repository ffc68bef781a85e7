"""`Pace`: no delay before something rare, growing delays before something that keeps happening.

Without it, another controller that undoes what we write would make us write in a tight loop.
"""

from collections.abc import Callable

_FIRST, _LONGEST = 0.05, 5.0
_QUIET = 10.0
"""Seconds without an occurrence, after which the next one counts as rare again."""


class Pace:
    """The delays of one repeated action; `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = -_QUIET
        self._pause = 0.0

    def pause(self) -> float:
        """The seconds to wait before doing it now: none, or 50 ms doubling up to 5 s."""
        now = self._now()
        again = now - self._last < _QUIET
        self._last = now
        self._pause = min(max(_FIRST, self._pause * 2), _LONGEST) if again else 0.0
        return self._pause
