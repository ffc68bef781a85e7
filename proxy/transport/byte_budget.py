"""`ByteBudget`: a maximum of bytes in memory at once; requests beyond it wait, first come, first served."""

import asyncio
from collections import deque


class ByteBudget:
    """`capacity` in bytes. What `take()` took, its taker gives back."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.left = capacity
        """Below 0 while somebody holds more than it had taken."""
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for what others hold."""
        return any(not granted.done() for _, granted in self._waiting)

    async def take(self, size: int) -> None:
        """Waits until `size` bytes (at most the capacity) are left, and no one waits who came before."""
        if not self._waiting and size <= self.left:
            self.left -= size
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give(size)  # granted, and cancelled before it could be told
            else:
                granted.cancel()
                self.give(0)
            raise

    def give(self, size: int) -> None:
        """Gives bytes back; negative: the taker turned out to hold so many more."""
        self.left += size
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.done():
                if wanted > self.left:
                    return
                self.left -= wanted
                granted.set_result(None)
            self._waiting.popleft()
