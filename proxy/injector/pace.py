"""`Pace`: no delay for what happens seldom, growing delays for what keeps happening.

Otherwise another controller of the same field, which undoes what we write, would make us write without end.
"""

from collections.abc import Callable

_FIRST, _LONGEST = 0.05, 5.0
_QUIET = 10.0
"""Seconds after which it is seldom again."""


class Pace:
    """`now` in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = -_QUIET
        self._pause = 0.0

    def pause(self) -> float:
        """Seconds to wait before doing it once more."""
        now = self._now()
        again = now - self._last < _QUIET
        self._last = now
        self._pause = min(max(_FIRST, self._pause * 2), _LONGEST) if again else 0.0
        return self._pause
