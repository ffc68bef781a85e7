"""Connecting to a name with several addresses: if one does not answer, the next is tried in parallel (RFC 8305).

redis-py leaves this to `asyncio.open_connection`, which tries the addresses one after another, each until the kernel
gives up; uvloop has no alternative.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aiohappyeyeballs import start_connection
from redis.asyncio.connection import AbstractConnection, ConnectionPool

if TYPE_CHECKING:
    from redis.asyncio.cluster import ClusterNode

_Connection = TypeVar("_Connection", bound=AbstractConnection)
_DELAY = 0.1
"""Seconds until the next address is tried as well. It is the RFC's minimum, because connecting to a Sentinel may take
0.2 s in all."""


def racing(base: type[_Connection]) -> type[_Connection]:
    """A subclass of `base` whose connections race the addresses of their host."""

    class Racing(base):  # type: ignore[valid-type, misc]
        _first: socket.socket | None = None

        async def _connect(self) -> None:
            async with asyncio.timeout(self.socket_connect_timeout):
                found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                self._first = await start_connection(found, happy_eyeballs_delay=_DELAY)
            try:
                await super()._connect()
            except BaseException:
                self._first.close()
                raise
            finally:
                self._first = None

        def _connection_arguments(self) -> Mapping[str, Any]:
            arguments = dict(super()._connection_arguments())
            host = arguments.pop("host")
            del arguments["port"]
            if "ssl" in arguments:
                arguments["server_hostname"] = host
            return {**arguments, "sock": self._first}

    return Racing


def race_in(pool: ConnectionPool) -> None:
    """Makes the future connections of a pool race."""
    pool.connection_class = racing(pool.connection_class)


def race_to(node: "ClusterNode") -> None:
    """Makes the future connections to a Cluster's node race."""
    node.connection_class = racing(node.connection_class)
