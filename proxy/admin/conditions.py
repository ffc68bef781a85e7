"""`Conditions`: the states of a process's parts, for `/stats` and the probes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proxy.service_states import ServiceStates
from proxy.telemetry.dependency import State
from proxy.telemetry.queue_depths import QueueDepth

Dependencies = Mapping[str, Callable[[], State]]
Queues = Callable[[], Iterable[QueueDepth]]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Each callable is called whenever its state is shown."""

    dependencies: Dependencies
    """The states of the configured dependencies, by name."""
    unready: Callable[[], str | None]
    """One line that says why callers should not be sent here; None if they may be."""
    services: ServiceStates | None = None
    queues: Queues = tuple
    faults: Callable[[], str] = str
    """Which settings are wrong, and what follows from it; "" if none is."""
