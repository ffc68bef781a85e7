"""`Upstreams`: the upstream of each service, by the service's full name; all others use the default."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from proxy.transport.upstream import Upstream


class Whereabouts(Protocol):
    """Who knows where a method's service is: all of `Upstreams`, or a single `Upstream`."""

    def of(self, method: str) -> Upstream: ...


class Upstreams:
    """A channel for each target; services at the same one share it."""

    def __init__(self, default: Upstream, others: Mapping[str, Upstream]) -> None:
        """`others` by the full names of services."""
        self.default = default
        self._others = dict(others)

    def of(self, method: str) -> Upstream:
        """Where a method goes, as it is on the wire: `/shop.Products/Get`."""
        if not self._others:
            return self.default
        return self._others.get(method[1 : method.rfind("/")], self.default)

    @property
    def every(self) -> Iterable[Upstream]:
        """Each once."""
        return dict.fromkeys((self.default, *self._others.values()))

    async def close(self) -> None:
        """Closes them all."""
        await asyncio.gather(*(each.close() for each in self.every))
