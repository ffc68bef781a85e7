"""If a name has several addresses and one drops packets, the next one is tried in parallel (RFC 8305).

redis-py leaves this to `asyncio.open_connection`, which tries one address after the other, each until the kernel gives
up; uvloop has no alternative.
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
"""Seconds that an address has for itself. The RFC's least: connecting to a Sentinel has 0.2 s in all."""


def racing(base: type[_Connection]) -> type[_Connection]:
    """The class of connections that race the addresses of their host."""

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
    """For what this pool connects to from now on."""
    pool.connection_class = racing(pool.connection_class)


def race_to(node: "ClusterNode") -> None:
    """The same for a Cluster's node."""
    node.connection_class = racing(node.connection_class)
