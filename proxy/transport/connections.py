"""How many connections callers have, for the log and operators; the limit itself is kept by gRPC's core, or by Envoy.

gRPC's core closes what is one too many and tells nobody, so the kernel's table is looked at: proc_net_tcp(5).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
TOO_MANY = "%d connections of callers are open, and further ones are closed on arrival (MAX_CONNECTIONS)"

_TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_ESTABLISHED = b"01"


def established(port: int) -> int:
    """Connections to a port of ours; 0 where the kernel does not tell."""
    end, count = f":{port:04X}".encode(), 0
    for table in _TABLES:
        with suppress(OSError):
            lines = (line.split(maxsplit=4) for line in table.read_bytes().splitlines()[1:])
            count += sum(line[1].endswith(end) and line[3] == _ESTABLISHED for line in lines)
    return count


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
