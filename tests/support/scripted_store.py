"""`Refusing`: the store of `Invalidations`, which refuses, holds and accepts on command; `Counts`, its observer."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from proxy.errors import RedisUnavailableError
from proxy.store.dependants import Left


class Refusing:
    """A store that refuses everything until it is `up`, and can hold its answers, which no server does on command."""

    def __init__(self) -> None:
        self.up = False
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.flushes = 0
        self.hold: asyncio.Event | None = None
        self.refused_models: set[str] = set()
        self.dependants: dict[str, tuple[str, ...]] = {}
        self.removed: list[tuple[str, ...]] = []
        self.forgotten: list[tuple[str, tuple[str, ...]]] = []

    async def invalidate(self, tag: str, **named: Any) -> Left | None:
        self.asked.append((tag, named))
        if self.hold is not None:
            await self.hold.wait()
        if not self.up or tag in self.refused_models:
            raise RedisUnavailableError("refused on purpose")
        dependants = self.dependants.get(tag, ())
        return Left(dependants, 0) if dependants else None

    async def remove(self, tags: Sequence[str], timeout: float) -> None:
        self.removed.append(tuple(tags))
        if not self.up or self.refused_models & set(tags):
            raise RedisUnavailableError("refused on purpose")

    def forget(self, tag: str, left: Left, tags: Sequence[str]) -> None:
        self.forgotten.append((tag, tuple(tags)))

    def on_renewal(self, again: Callable[[float | None], None]) -> None:
        self.again = again

    async def flush(self, services: Collection[str] = ()) -> int:
        self.flushes += 1
        if self.hold is not None:
            await self.hold.wait()
        if not self.up:
            raise RedisUnavailableError("refused on purpose")
        return 3


class Counts:
    def __init__(self) -> None:
        self.applied: list[tuple[str, float | None]] = []
        self.pending = 0

    def invalidation(self, source: str, lag_seconds: float | None) -> None:
        self.applied.append((source, lag_seconds))

    def invalidations_pending(self, count: int) -> None:
        self.pending = count


async def cancelled(task: "asyncio.Task[None]") -> None:
    """Cancels it and waits for its end."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
