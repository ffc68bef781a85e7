"""`ServiceStates`: how each service of the policy is, as far as this process knows: connected, and how it answers.

The upstream at MEDIA_SERVICE_ADDR is kept connected and watched (`Dependency`). A service with an upstream of its own
is connected to when a call needs it, so whether it can be reached is not known before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.core import Core
from proxy.policy.compiled import Service
from proxy.telemetry.dependency import State
from proxy.telemetry.method_labels import OTHER
from proxy.telemetry.upstream_answers import UpstreamAnswers
from proxy.transport.upstream import Upstream


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service of the policy."""

    name: str
    """Its full name."""
    called: str
    """What sentences call it."""
    target: str
    up: bool | None
    """Whether it is connected; None: not known, nothing was asked of it lately."""
    reason: str
    """What is wrong with it, in one line; empty: nothing."""
    away: bool
    """It is connected, and its answers are those of a service that is away (UNAVAILABLE, DEADLINE_EXCEEDED)."""


class ServiceStates:
    """Of the policy that the core serves now. `default` is the connection to MEDIA_SERVICE_ADDR."""

    def __init__(self, core: Core, answers: UpstreamAnswers, default: Callable[[], State]) -> None:
        self._core = core
        self._answers = answers
        self._default = default
        answers.connected = self._connected

    def default(self) -> State:
        """Of MEDIA_SERVICE_ADDR: connected or not, and what is wrong with the answers of a service there."""
        state = self._default()
        if not state.up:
            return state
        names = (name for name in self._core.policy.services if not self._is_apart(name))
        reasons = (self._answers.of_service(name).reason for name in (*names, OTHER))
        return replace(state, reason=next(filter(None, reasons), ""))

    def apart(self) -> list[ServiceState]:
        """The services that have an upstream of their own."""
        return [self._state(service) for name, service in self._core.policy.services.items() if self._is_apart(name)]

    def of(self, method: str) -> ServiceState:
        """Of the service of one of the policy's methods, as it is on the wire: `/shop.Products/Get`."""
        return self._state(self._core.policy.services[method[1 : method.rfind("/")]])

    def _state(self, service: Service) -> ServiceState:
        answers = self._answers.of_service(service.name)
        upstream = self._upstream(service.name)
        if upstream is self._core.upstream:
            state = self._default()
            up, reason = state.up if state.seconds is not None else None, state.reason
        else:
            up, reason = upstream.connected, ""
        reason = "" if up is None else answers.reason if up else reason or "not connected"
        return ServiceState(service.name, service.called, upstream.target, up, reason, answers.away)

    def _is_apart(self, name: str) -> bool:
        return self._upstream(name) is not self._core.upstream

    def _connected(self, name: str) -> bool:
        upstream = self._upstream(name)
        return self._default().up if upstream is self._core.upstream else upstream.connected is not False

    def _upstream(self, name: str) -> Upstream:
        return self._core.upstreams.of(f"/{name}/")
