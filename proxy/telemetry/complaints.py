"""`Complaints`: log lines about wrong settings, for as long as the proxy serves with other values in their place."""

import asyncio
import logging
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds; nobody reads the first lines of a process that runs for weeks."""


class Complaints:
    """One line for each wrong setting; `count` is told how many there are."""

    def __init__(self, faults: Sequence[str], count: Callable[[int], None]) -> None:
        self.faults = tuple(faults)
        self._count = count
        count(len(self.faults))

    @property
    def remark(self) -> str:
        """For `/readyz`; empty: nothing is wrong."""
        return f"nothing is cached: {'; '.join(self.faults)}" if self.faults else ""

    def mended(self, kind: type[str]) -> None:
        """The settings of which lines of this kind tell are right now."""
        self.faults = tuple(fault for fault in self.faults if not isinstance(fault, kind))
        self._count(len(self.faults))

    async def run(self) -> None:
        """Logs them again and again, until cancelled."""
        while True:
            if self.faults:
                _log.error(
                    "a setting is wrong: calls are forwarded, nothing is cached", extra={"wrong": [*self.faults]}
                )
            await asyncio.sleep(_EVERY)
