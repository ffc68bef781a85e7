"""`Conditions`: what the parts of a process say about how they are, for whoever shows it to operators."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proxy.service_states import ServiceStates
from proxy.telemetry.dependency import State
from proxy.telemetry.queue_depths import QueueDepth

Dependencies = Mapping[str, Callable[[], State]]
Queues = Callable[[], Iterable[QueueDepth]]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Asked each time something is shown."""

    dependencies: Dependencies
    """By name; what is not configured is absent."""
    unready: Callable[[], str | None]
    """Why no callers should come, in one line; None: they may."""
    services: ServiceStates | None = None
    queues: Queues = tuple
    faults: Callable[[], str] = str
    """Settings that are wrong, and what that means; empty: none is."""
