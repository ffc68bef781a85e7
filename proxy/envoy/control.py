"""Messages between `serve` and the interpreter inside its Envoy, over a private socket pair.

In Envoy its end is standard input. Log lines go to standard output; `serve` reads Envoy's standard error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.envoy.bootstrap import Place
from proxy.settings.config import Settings

SOCKET, LOG = 0, 1
"""Descriptors of Envoy's process."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first that `serve` says: what to serve."""

    settings: Settings
    sources: Mapping[str, str]
    place: Place
    restarts: int
    """How often Envoy had crashed before."""
    faults: Sequence[str] = ()
    """What was wrong with the settings that these stand in for."""


@dataclass(frozen=True, slots=True)
class Stop:
    """`serve` was told to end: once drains, once more cuts."""


@dataclass(frozen=True, slots=True)
class Live:
    """Callers are served."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot start; `text` is one line. `setting`: for what a setting says, which is another exit status."""

    text: str
    setting: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """All is done, and Envoy may be ended; `status` is the exit status of `serve`."""

    status: int
