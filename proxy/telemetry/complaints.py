"""Log lines about wrong settings, for as long as the proxy serves with other values in their place."""

import asyncio
import logging
from collections.abc import Sequence

_log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds; nobody reads the first lines of a process that runs for weeks."""


def remark(faults: Sequence[str]) -> str:
    """For `/readyz`; empty: nothing was wrong."""
    return f"nothing is cached: {'; '.join(faults)}" if faults else ""


async def run(faults: Sequence[str]) -> None:
    """Logs them again and again, until cancelled."""
    while True:
        _log.error("a setting is wrong: calls are forwarded, nothing is cached", extra={"wrong": list(faults)})
        await asyncio.sleep(_EVERY)
