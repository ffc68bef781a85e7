"""`Schedule`: faults in an order that the seed determines, each repaired before the next."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from tests.consistency.checker import Checker, as_logged

Fault = Callable[[], Awaitable[None]]


class Schedule:
    """Every kind once, then again in another order."""

    def __init__(self, seed: int, checker: Checker) -> None:
        self.random = random.Random(seed)  # noqa: S311 -- a schedule to repeat, no secret
        self.checker = checker
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Fault] = {}
        self.times: list[str] = []
        """When each fault began and ended, in the format of the logs."""

    def keep(self, names: Collection[str]) -> None:
        """Keeps only kinds whose name begins with one of `names`, or all if that is empty. Raises KeyError if one
        matches no kind.
        """
        for name in names:
            if not any(kind.startswith(name) for kind in self.kinds):
                raise KeyError(f"{name}: none of {', '.join(self.kinds)}")
        if names:
            self.kinds = {kind: fault for kind, fault in self.kinds.items() if kind.startswith(tuple(names))}

    async def run(self, over: Callable[[], bool]) -> None:
        """Injects faults until `over` returns true and every kind was injected at least once."""
        while not over() or len(self.counts) < len(self.kinds):
            kinds = list(self.kinds)
            self.random.shuffle(kinds)
            for kind in kinds:
                await self.pause(0.3, 1.2)
                if over() and len(self.counts) == len(self.kinds):
                    return
                self.checker.during = kind
                self._tell(f"fault begins: {kind}")
                await self.kinds[kind]()
                self._tell(f"fault ends: {kind}")
                self.checker.during = f"after {kind}"
                self.counts[kind] += 1

    def _tell(self, text: str) -> None:
        self.checker.note(text)
        self.times.append(f"{as_logged()} {text}")

    async def pause(self, least: float, most: float) -> None:
        """Waits for a random time between `least` and `most` seconds."""
        await asyncio.sleep(self.random.uniform(least, most))
