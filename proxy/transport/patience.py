"""`Patience`: the maximum time to wait for a request that its caller sends slowly. One timer serves all waiting calls.

(`asyncio.timeout` needs a timer for each call: some 20 us for each call without a deadline, most of it for cancelled
timers that have not been cleared away yet.)
"""

import asyncio
import time

_Task = asyncio.Task[object] | None
"""None stands for no task at all, which nobody can wait in."""

_SHARE = 0.1
"""The timer looks at most this share of the granted time late."""


class Patience:
    """Grants `seconds`. Made inside the event loop.

    A task calls `begin`, awaits what it waits for, and calls `end` with what `begin` returned: itself. If a
    CancelledError reaches it in between, `over` tells whether the time was up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: dict[_Task, float] = {}
        """In the order in which the waits began, which is the order in which they end."""
        self._expired: dict[_Task, int] = {}
        """With the cancellations that a task had been asked for before ours."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Task:
        """The current task waits from now on."""
        task = asyncio.current_task()
        self._due[task] = time.monotonic() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds * (1 + _SHARE), self._look)
        return task

    def over(self, task: _Task) -> bool:
        """Whether the CancelledError is ours, because the time was up: then the task is cancelled no more. False also
        when somebody else has cancelled it as well (the rule of `asyncio.timeout`).
        """
        before = self._expired.get(task)
        return before is not None and task is not None and task.uncancel() <= before

    def end(self, task: _Task) -> None:
        """It waits no longer."""
        self._due.pop(task, None)
        if self._expired:
            self._expired.pop(task, None)

    def _look(self) -> None:
        """Cancels the tasks whose time is up, and comes again for the rest."""
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
