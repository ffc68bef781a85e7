"""How a test scripts a fake service: `Gate` holds its calls at a `Step`, `SeenCall` is one call as it arrived."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import Message

from tests.support.servers.waiting import until

Step = Literal["request", "answer"]
"""Where a call is held or failed: `request` before it read or changed anything, `answer` after (and after a commit)."""


@dataclass(slots=True)
class SeenCall:
    """One call as it arrived."""

    method: str
    request: Message
    metadata: tuple[tuple[str, str | bytes], ...]
    time_remaining: float | None
    """Seconds to its deadline; None without a deadline."""
    ended: Literal["", "answered", "failed", "cancelled"] = ""


class Gate:
    """Holds every call that arrives until `open()`."""

    def __init__(self) -> None:
        self.arrived = 0
        """Number of calls that have arrived so far."""
        self._opened = asyncio.Event()

    async def reached(self, count: int = 1) -> None:
        """Waits until `count` calls have arrived in total."""
        await until(lambda: self.arrived >= count, f"{count} calls at the gate")

    def open(self) -> None:
        """Lets the held calls go on, and later ones pass."""
        self._opened.set()

    async def passed(self) -> None:
        self.arrived += 1
        await self._opened.wait()
