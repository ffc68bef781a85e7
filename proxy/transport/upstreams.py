"""`Upstreams`: the upstream of each service, by the service's full name; all others use the default.

`Channels` has the channels of one process, one for each target and way to it, whatever policies come and go.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from proxy.policy.compiled import Policy, Service
from proxy.settings.upstream_tls import UpstreamTls
from proxy.tls import Leg
from proxy.transport.upstream import ClientObserver, Upstream


class Whereabouts(Protocol):
    """Who knows where a method's service is: all of `Upstreams`, or a single `Upstream`."""

    def of(self, method: str) -> Upstream: ...


class Upstreams:
    """As one policy has it."""

    def __init__(self, default: Upstream, others: Mapping[str, Upstream]) -> None:
        """`others` by the full names of services."""
        self.default = default
        self._others = dict(others)

    def of(self, method: str) -> Upstream:
        """Where a method goes, as it is on the wire: `/shop.Products/Get`."""
        if not self._others:
            return self.default
        return self._others.get(method[1 : method.rfind("/")], self.default)


class _Way(NamedTuple):
    target: str
    tls: UpstreamTls | None
    """None: as to the default one."""


class Channels:
    """Services that are reached alike share a channel. Made and closed inside the event loop that uses them."""

    def __init__(self, default: Upstream, observer: ClientObserver, tls: Leg | None = None) -> None:
        self.default = default
        self._observer = observer
        self._tls = tls
        self._others: dict[_Way, Upstream] = {}
        self._legs: dict[_Way, Leg] = {}

    @property
    def legs(self) -> Iterable[Leg]:
        """Of those that are reached otherwise than the default one."""
        return tuple(self._legs.values())

    def to(self, policy: Policy) -> Upstreams:
        """Where this policy's services are; SettingError for files of theirs that are of no use, and nothing changes.

        What only another one named is let go of: gRPC's core keeps what calls in progress need until they have ended.
        """
        ways = {name: self._way(service) for name, service in policy.services.items()}
        others = set(ways.values()) - {_Way(self.default.target, None)}
        legs = {way: self._legs.get(way) or Leg.to(way.tls) for way in others if way.tls is not None and way.tls.on}
        self._others = {way: self._others.get(way) or self._open(way, legs.get(way)) for way in others}
        self._legs = legs
        return Upstreams(self.default, {name: self._others.get(way, self.default) for name, way in ways.items()})

    async def close(self) -> None:
        """Closes them all."""
        await asyncio.gather(*(each.close() for each in (self.default, *self._others.values())))

    def _way(self, service: Service) -> _Way:
        return _Way(service.upstream or self.default.target, service.upstream_tls)

    def _open(self, way: _Way, leg: Leg | None) -> Upstream:
        return Upstream(way.target, self._observer, self._tls if way.tls is None else leg)
