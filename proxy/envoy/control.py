"""Messages between `serve` and the interpreter inside its Envoy, over a private socket pair.

Inside Envoy, the socket is standard input. Log lines go to standard output; `serve` reads Envoy's standard error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.envoy.bootstrap import Place
from proxy.errors import BadPolicyError, SettingError, StartError
from proxy.settings.config import Settings

SOCKET, LOG = 0, 1
"""File descriptors in Envoy's process."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of `serve`: what to serve."""

    settings: Settings
    sources: Mapping[str, str]
    place: Place
    restarts: int
    """How often Envoy has crashed before."""
    faults: Sequence[str] = ()
    """What was wrong with the original settings, which `settings` replace."""


@dataclass(frozen=True, slots=True)
class Stop:
    """`serve` was told to end. The first such message drains, the second cuts calls off."""


@dataclass(frozen=True, slots=True)
class Live:
    """Callers are served."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The proxy inside Envoy cannot start. `text` is one line; `kind` is the type of the error and decides the exit
    status of `serve`.
    """

    text: str
    kind: type[StartError] = StartError


def kind_of(error: StartError) -> type[StartError]:
    """The most specific type of the error that can be built from a text alone."""
    return next(kind for kind in (BadPolicyError, SettingError, StartError) if isinstance(error, kind))


@dataclass(frozen=True, slots=True)
class Ended:
    """The proxy inside Envoy is done, and Envoy may be ended; `status` is the exit status of `serve`."""

    status: int
