"""`Upstreams`: the upstream of each service, by the service's full name; all others use the default.

`Channels` owns the channels of one process, one per target and TLS settings. A new policy keeps those that it needs.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from proxy.policy.compiled import Policy, Service
from proxy.settings.upstream_tls import UpstreamTls
from proxy.tls import Leg
from proxy.transport.upstream import ClientObserver, Upstream


class UpstreamResolver(Protocol):
    """Finds the upstream of a method: `Upstreams`, or a single `Upstream`."""

    def of(self, method: str) -> Upstream: ...


class Upstreams:
    """The upstreams of one policy."""

    def __init__(self, default: Upstream, others: Mapping[str, Upstream]) -> None:
        """`others` by the full name of the service."""
        self.default = default
        self._others = dict(others)

    def of(self, method: str) -> Upstream:
        """The upstream of a method, which is given as on the wire: `/shop.Products/Get`."""
        if not self._others:
            return self.default
        return self._others.get(method[1 : method.rfind("/")], self.default)


class _Way(NamedTuple):
    target: str
    tls: UpstreamTls | None
    """None means the same TLS settings as for the default upstream."""


class Channels:
    """Services with the same target and TLS settings share a channel. Used inside one event loop, ended by `close`."""

    def __init__(self, default: Upstream, observer: ClientObserver, tls: Leg | None = None) -> None:
        self.default = default
        self._observer = observer
        self._tls = tls
        self._others: dict[_Way, Upstream] = {}
        self._legs: dict[_Way, Leg] = {}

    @property
    def legs(self) -> Iterable[Leg]:
        """The legs of the upstreams with their own TLS settings."""
        return tuple(self._legs.values())

    def to(self, policy: Policy) -> Upstreams:
        """Opens the channels that a policy needs and drops those that it does not. gRPC's core keeps a dropped channel
        until its calls have ended. Raises SettingError if a service's TLS files cannot be used; nothing changes then.
        """
        ways = {name: self._way(service) for name, service in policy.services.items()}
        others = set(ways.values()) - {_Way(self.default.target, None)}
        legs = {way: self._legs.get(way) or Leg.to(way.tls) for way in others if way.tls is not None and way.tls.on}
        self._others = {way: self._others.get(way) or self._open(way, legs.get(way)) for way in others}
        self._legs = legs
        return Upstreams(self.default, {name: self._others.get(way, self.default) for name, way in ways.items()})

    async def close(self) -> None:
        """Closes all channels."""
        await asyncio.gather(*(each.close() for each in (self.default, *self._others.values())))

    def _way(self, service: Service) -> _Way:
        return _Way(service.upstream or self.default.target, service.upstream_tls)

    def _open(self, way: _Way, leg: Leg | None) -> Upstream:
        return Upstream(way.target, self._observer, self._tls if way.tls is None else leg)
