"""`Upstreams`: which service is where. Calls go by the service's full name; others to the default.

`Channels` has the channels of one process, one for each target, whatever policies come and go.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from proxy.policy.compiled import Policy
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


class Channels:
    """Services at the same target share its channel. Made and closed inside the event loop that uses them."""

    def __init__(self, default: Upstream, observer: ClientObserver, tls: Leg | None = None) -> None:
        self.default = default
        self._observer = observer
        self._tls = tls
        self._others: dict[str, Upstream] = {}

    def to(self, policy: Policy) -> Upstreams:
        """Where this policy's services are. What only another one named is let go of: gRPC's core keeps what calls in
        progress need until they have ended.
        """
        targets = {service.upstream for service in policy.services.values()} - {"", self.default.target}
        self._others = {target: self._others.get(target) or self._open(target) for target in sorted(targets)}
        named = {name: self._others.get(service.upstream, self.default) for name, service in policy.services.items()}
        return Upstreams(self.default, named)

    async def close(self) -> None:
        """Closes them all."""
        await asyncio.gather(*(each.close() for each in (self.default, *self._others.values())))

    def _open(self, target: str) -> Upstream:
        return Upstream(target, self._observer, self._tls)
