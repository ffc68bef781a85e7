"""`Connections`: how many connections callers have, for the log and operators. gRPC's core or Envoy enforces the limit.

gRPC's core closes connections beyond the limit without reporting it, so this process' own descriptors are counted.
Reading the kernel's table of connections (proc_net_tcp(5)) instead would block the process for 8 ms, because it lists
the connections of all processes.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
TOO_MANY = "%d connections of callers are open, and further ones are closed on arrival (MAX_CONNECTIONS)"

_DESCRIPTORS = Path("/proc/self/fd")


def established(port: int) -> int:
    """The number of connections that this process has accepted on a port; 0 if the kernel does not say."""
    try:
        descriptors = [int(each.name) for each in _DESCRIPTORS.iterdir()]
    except OSError:
        return 0
    return sum(_accepted(each, port) for each in descriptors)


def _accepted(descriptor: int, port: int) -> bool:
    """Whether the descriptor is a connection to this port. The descriptor must not be duplicated: while a duplicate
    exists, gRPC's core would still get events of a connection that it has closed.
    """
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return False  # not a socket, or closed meanwhile
    try:
        address = connection.getsockname()
        connection.getpeername()
    except OSError:
        return False  # a listening socket, or a connection that has just ended
    finally:
        connection.detach()
    return connection.family in (socket.AF_INET, socket.AF_INET6) and address[1] == port


class Connections:
    """The number of connections as of the last count (`now`). `most` is the limit; `count` counts."""

    def __init__(self, most: int, count: Callable[[], int]) -> None:
        self.now = 0
        self._most, self._count = most, count

    async def watch(self, every: float = LOOK_EVERY) -> None:
        """Counts every `every` seconds until cancelled. Logs once when the limit is reached, and again only if there
        were fewer meanwhile.
        """
        full = False
        while True:
            self.now = self._count()
            if self.now >= self._most and not full:
                _log.warning(TOO_MANY, self._most)
            full = self.now >= self._most
            await asyncio.sleep(every)
