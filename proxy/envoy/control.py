"""Messages between `serve` and the interpreter inside its Envoy, over a private socket pair.

In Envoy its end is standard input. Log lines go to standard output; `serve` reads Envoy's standard error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.envoy.bootstrap import Place
from proxy.errors import BadPolicyError, SettingError, StartError
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
    """It cannot start; `text` is one line, and `kind` the error's, which decides the exit status."""

    text: str
    kind: type[StartError] = StartError


def kind_of(error: StartError) -> type[StartError]:
    """Of its kinds the narrowest that is made of a text alone."""
    return next(kind for kind in (BadPolicyError, SettingError, StartError) if isinstance(error, kind))


@dataclass(frozen=True, slots=True)
class Ended:
    """All is done, and Envoy may be ended; `status` is the exit status of `serve`."""

    status: int
