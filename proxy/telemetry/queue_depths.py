"""`QueueDepths`: how many events wait in the proxy's queues according to RabbitMQ's last answers, for operators."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One of the proxy's queues."""

    name: str
    waiting: int
    """Messages that have not been delivered to a consumer yet."""
    consumers: int
    """Consumers of all proxies together."""
    seconds: float
    """How long ago RabbitMQ said so."""


class QueueDepths:
    """The queues of one consumer, none before RabbitMQ was reached; `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, tuple[int, int, float]] = {}

    def told(self, queue: str, waiting: int | None, consumers: int | None) -> None:
        """Records RabbitMQ's answer about a queue; None counts as 0."""
        self._said[queue] = waiting or 0, consumers or 0, self._clock()

    def missing(self, queue: str) -> None:
        """Records that the queue does not exist."""
        self._said.pop(queue, None)

    def __call__(self) -> list[QueueDepth]:
        """The queues, sorted by name."""
        now = self._clock()
        return [
            QueueDepth(name, waiting, consumers, now - at)
            for name, (waiting, consumers, at) in sorted(self._said.items())
        ]
