"""`SettingsComplaints`: repeated log lines about wrong settings, while the proxy serves with other values instead."""

import asyncio
import logging
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds between two lines. They are repeated since nobody reads the first lines of a process that runs for weeks."""


class SettingsComplaints:
    """`faults` has one line for each wrong setting; `count` is called with their number whenever it changes."""

    def __init__(self, faults: Sequence[str], count: Callable[[int], None]) -> None:
        self.faults = tuple(faults)
        self._count = count
        count(len(self.faults))

    @property
    def remark(self) -> str:
        """What `/readyz` adds to its answer; "" if no setting is wrong."""
        return f"nothing is cached: {'; '.join(self.faults)}" if self.faults else ""

    def mended(self, kind: type[str]) -> None:
        """Removes the lines of this class, since their settings have been put right."""
        self.faults = tuple(fault for fault in self.faults if not isinstance(fault, kind))
        self._count(len(self.faults))

    async def run(self) -> None:
        """Logs the lines every minute, until cancelled."""
        while True:
            if self.faults:
                _log.error(
                    "a setting is wrong: calls are forwarded, nothing is cached", extra={"wrong": [*self.faults]}
                )
            await asyncio.sleep(_EVERY)
