"""Cancels a coroutine at a chosen await, so that a test can try all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any


class CancelledAt:
    """Awaits a coroutine in its own task, and cancels that task when it is suspended for the `at`-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        error: BaseException | None = None
        while True:
            try:
                waited_for = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            self.suspended += 1
            if self.suspended == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()  # inside the task: it takes effect at the await that we are about to pass on
            try:
                yield waited_for
                error = None
            except BaseException as thrown:  # noqa: BLE001 -- whatever it is, the coroutine is to see it
                error = thrown


async def cancelled_at_each_await(make: Callable[[], Coroutine[Any, Any, Any]]) -> AsyncIterator[int]:
    """Creates the coroutine again and again, and cancels it at its first, second, ... await; yields after each. Ends,
    after a last yield of 0, once the coroutine finished before it could be cancelled.
    """
    at = 0
    while True:
        at += 1
        attempt = CancelledAt(make(), at)
        task = asyncio.ensure_future(_awaited(attempt))
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
            assert attempt.suspended < at, "the cancellation was swallowed"
            yield 0
            return
        yield at


async def _awaited(attempt: CancelledAt) -> Any:
    return await attempt
