"""`Descriptors`: logs once when the process has no file descriptors left, and once when some are free again.

Without one no caller can connect, and the libraries that accept connections log little or nothing about it: gRPC waits
silently. Callers that are connected are still served.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_EVERY = 1.0
_FEW = 2
"""With fewer free descriptors than this, the next connection may be the last: counting them takes one itself."""


class Descriptors:
    """`left` returns how many more descriptors can be opened; OSError when it has none to look with."""

    def __init__(self, left: Callable[[], int] | None = None) -> None:
        self._left = left or _left
        self._out = False

    async def run(self) -> None:
        """Looks every second until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY)

    def look(self) -> None:
        """Looks once, and logs a line if descriptors have run out or are free again since the last look."""
        try:
            out = self._left() < _FEW
        except OSError:
            out = True
        if out is not self._out:
            self._out = out
            if out:
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                log.warning(
                    "no file descriptors are left (limit: %d): no further caller can connect until some are closed; "
                    "raise the limit (ulimit -n, LimitNOFILE=)",
                    limit,
                )
            else:
                log.info("file descriptors are free again")


def _left() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - len(list(Path("/proc/self/fd").iterdir())) + 1  # the listing has opened one itself
