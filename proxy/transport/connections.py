"""How many connections callers have, for the log and operators; the limit itself is kept by gRPC's core, or by Envoy.

gRPC's core closes what is one too many and tells nobody, so our own descriptors are looked at. The kernel's table of
connections (proc_net_tcp(5)) takes 8 ms, in which nothing is served: it is walked whole, whoever's they are.
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
    """Connections that this process has accepted on a port of ours; 0 where the kernel does not tell."""
    try:
        descriptors = [int(each.name) for each in _DESCRIPTORS.iterdir()]
    except OSError:
        return 0
    return sum(_accepted(each, port) for each in descriptors)


def _accepted(descriptor: int, port: int) -> bool:
    """Whether it is a connection to this port. Never a copy of it: while there is one, gRPC's core would go on to hear
    of a connection that it has closed.
    """
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return False  # no socket, or closed meanwhile
    try:
        address = connection.getsockname()
        connection.getpeername()
    except OSError:
        return False  # it listens, or has just ended
    finally:
        connection.detach()
    return connection.family in (socket.AF_INET, socket.AF_INET6) and address[1] == port


class Connections:
    """How many there are, as of the last look."""

    def __init__(self, most: int, count: Callable[[], int]) -> None:
        self.now = 0
        self._most, self._count = most, count

    async def watch(self, every: float = LOOK_EVERY) -> None:
        """Looks every so many seconds, until cancelled. Says once that there are as many as there may be, and again
        when there were fewer meanwhile.
        """
        full = False
        while True:
            self.now = self._count()
            if self.now >= self._most and not full:
                _log.warning(TOO_MANY, self._most)
            full = self.now >= self._most
            await asyncio.sleep(every)
