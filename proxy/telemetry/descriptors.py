"""`Descriptors`: logs once when the process has no file descriptors left, and once when it has some again.

Without one nobody can connect, and the libraries that accept connections log little or nothing about it: gRPC waits
silently. Connected callers are still served.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_EVERY = 1.0
_FEW = 2
"""The look itself takes one, so that with fewer than this many left the next connection may be the last."""


class Descriptors:
    """`left` tells how many more there may be; OSError when not even one to look with."""

    def __init__(self, left: Callable[[], int] | None = None) -> None:
        self._left = left or _left
        self._out = False

    async def run(self) -> None:
        """Looks each second until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY)

    def look(self) -> None:
        """Once; a line only when something has changed."""
        try:
            out = self._left() < _FEW
        except OSError:
            out = True
        if out is not self._out:
            self._out = out
            if out:
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                log.warning(
                    "no file descriptors are left (limit: %d): nobody new can connect until some are closed; "
                    "raise the limit (ulimit -n, LimitNOFILE=)",
                    limit,
                )
            else:
                log.info("file descriptors are free again")


def _left() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - len(list(Path("/proc/self/fd").iterdir())) + 1  # the one that lists them
