"""`ServiceStates`: what this process knows of each service of the policy: whether it is connected and how it answers.

The proxy keeps the connection to MEDIA_SERVICE_ADDR open and watches it (`Dependency`). To a service with an upstream
of its own it connects when a call needs it, so before that nobody knows whether the service can be reached.
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
    """What sentences call the service."""
    target: str
    """The gRPC target of its upstream."""
    up: bool | None
    """Whether it is connected; None means unknown, since no call was sent to it lately."""
    reason: str
    """What is wrong with it, in one line; "" if nothing is."""
    away: bool
    """Whether it is failing with UNAVAILABLE or DEADLINE_EXCEEDED, so that expired answers may be served instead."""


class ServiceStates:
    """The services of the current policy. `default` returns the state of the connection to MEDIA_SERVICE_ADDR."""

    def __init__(self, core: Core, answers: UpstreamAnswers, default: Callable[[], State]) -> None:
        self._core = core
        self._answers = answers
        self._default = default
        answers.connected = self._connected

    def default(self) -> State:
        """The state of MEDIA_SERVICE_ADDR; while connected, its reason says how a service there is failing."""
        state = self._default()
        if not state.up:
            return state
        names = (name for name in self._core.policy.services if not self._is_apart(name))
        reasons = (self._answers.of_service(name).reason for name in (*names, OTHER))
        return replace(state, reason=next(filter(None, reasons), ""))

    def apart(self) -> list[ServiceState]:
        """The states of the services that have an upstream of their own."""
        return [self._state(service) for name, service in self._core.policy.services.items() if self._is_apart(name)]

    def of(self, method: str) -> ServiceState:
        """The state of the service that has this method of the policy (`/shop.Products/Get`)."""
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
