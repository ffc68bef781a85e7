"""`ReadTimeout`: how long the proxy waits for the request of a call without a deadline. One timer serves all calls.

`asyncio.timeout` would need a timer for each call: 20 us per call, mostly for cancelled timers that the loop still has
to clear away.
"""

import asyncio
import time

_Task = asyncio.Task[object] | None
"""What `asyncio.current_task` returns; inside a call it is never None."""

_SHARE = 0.1
"""The timer fires late by at most this share of the timeout."""


class ReadTimeout:
    """A timeout of `seconds`. It is created inside the event loop.

    A task calls `begin`, awaits its request, and calls `end` with what `begin` returned, which is the task itself. If
    the await raises CancelledError, `over` says whether the timeout is the reason.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: dict[_Task, float] = {}
        """By task, when its time is up, by `time.monotonic`. The first to begin is the first that is due."""
        self._expired: dict[_Task, int] = {}
        """By task, how often others had cancelled it before the timeout did."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Task:
        """The current task begins to wait."""
        task = asyncio.current_task()
        self._due[task] = time.monotonic() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds * (1 + _SHARE), self._look)
        return task

    def over(self, task: _Task) -> bool:
        """Whether the timeout caused the CancelledError; the cancellation is then taken back (`Task.uncancel`). False
        if the task was cancelled from elsewhere as well, as with `asyncio.timeout`.
        """
        before = self._expired.get(task)
        return before is not None and task is not None and task.uncancel() <= before

    def end(self, task: _Task) -> None:
        """The task no longer waits."""
        self._due.pop(task, None)
        if self._expired:
            self._expired.pop(task, None)

    def _look(self) -> None:
        """Cancels the tasks whose time is up, and sets the timer for the next one."""
        self._timer = None
        now = time.monotonic()
        for task, due in list(self._due.items()):
            if due > now:
                self._timer = self._loop.call_at(due + _SHARE * self._seconds, self._look)
                return
            del self._due[task]
            if task is not None:
                self._expired[task] = task.cancelling()
                task.cancel()
