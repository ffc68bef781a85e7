"""`QueueDepths`: how many events wait in our queues, as RabbitMQ said when it was asked last, for operators."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue of ours."""

    name: str
    waiting: int
    """Messages that no consumer has been given yet."""
    consumers: int
    """Of all proxies."""
    seconds: float
    """How long ago RabbitMQ said so."""


class QueueDepths:
    """Of the queues of one consumer; empty before RabbitMQ was reached."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, tuple[int, int, float]] = {}

    def told(self, queue: str, waiting: int | None, consumers: int | None) -> None:
        """RabbitMQ was asked about a queue."""
        self._said[queue] = waiting or 0, consumers or 0, self._clock()

    def missing(self, queue: str) -> None:
        """There is no such queue any more."""
        self._said.pop(queue, None)

    def __call__(self) -> list[QueueDepth]:
        """The queues, by name."""
        now = self._clock()
        return [
            QueueDepth(name, waiting, consumers, now - at)
            for name, (waiting, consumers, at) in sorted(self._said.items())
        ]
