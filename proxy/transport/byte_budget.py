"""`ByteBudget`: the maximum number of bytes in memory at once; requests beyond it wait, first come, first served."""

import asyncio
from collections import deque


class ByteBudget:
    """A budget of `capacity` bytes. Each caller of `take` must return the bytes with `give`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.left = capacity
        """Free bytes; negative while a taker holds more than it has taken."""
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether anyone waits for bytes that others hold."""
        return any(not granted.done() for _, granted in self._waiting)

    async def take(self, size: int) -> None:
        """Takes `size` bytes, at most the capacity. Waits until they are free and all earlier requests are served."""
        if not self._waiting and size <= self.left:
            self.left -= size
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give(size)  # granted, but cancelled before it resumed
            else:
                granted.cancel()
                self.give(0)
            raise

    def give(self, size: int) -> None:
        """Returns bytes to the budget. A negative `size` takes more of them, if the taker turned out to hold more."""
        self.left += size
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.done():
                if wanted > self.left:
                    return
                self.left -= wanted
                granted.set_result(None)
            self._waiting.popleft()
