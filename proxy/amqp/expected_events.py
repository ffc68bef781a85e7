"""`ExpectedEvents`: which writes through this process an event followed, which reveals one mute service of several.

Rules:
    owed      a successful write through this process is owed an event. The hashes of its tags hold a note of it, and
              the next event that names the tag answers the note, whichever proxy applies it (`lua/invalidate.lua`)
    judged    once the event should have arrived, the write has had its event or has not. From a missing note (evicted,
              flushed, removed by a proxy of another version) nothing is concluded
    without   a write without its event counts only if events arrive and name tags of its kind: an event was applied
              after the write ended (otherwise all services are mute, which `Silence` detects), and an event in this
              process has named a tag of that kind
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from proxy.calls.tags import kind_of

_MOST_OWED = 64
_MOST_KINDS = 1000


class Notes(Protocol):
    """Looks the notes up; see `EventRecord`."""

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        """Whether an event has named the tag since the write with this intent began; None if that is unknown."""


@dataclass(frozen=True, slots=True)
class _Write:
    tags: tuple[str, ...]
    intent: bytes
    ended: float


class ExpectedEvents:
    """The owed events of this process. If there are more writes than it can keep, the latest are not judged."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._kinds: OrderedDict[str, None] = OrderedDict()

    def wrote(self, tags: tuple[str, ...], intent: bytes, now: float) -> None:
        """A write that changed these tags succeeded at `now`."""
        if tags and len(self._writes) < _MOST_OWED:
            self._writes.append(_Write(tags, intent, now))

    def heard(self, tags: Iterable[str]) -> None:
        """An event that names these tags was applied."""
        for kind in map(kind_of, tags):
            self._kinds[kind] = None
            self._kinds.move_to_end(kind)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)

    def forget(self) -> None:
        """Drops all writes, so that they are not judged."""
        self._writes.clear()

    async def judged(self, notes: Notes, until: float, heard_at: float = -math.inf) -> list[bool]:
        """Judges and removes the writes that ended no later than `until`: for each, in order, whether it had its event.
        Writes from which nothing can be concluded are left out. `heard_at`: when any proxy last applied an event.
        """
        due: list[_Write] = []
        while self._writes and self._writes[0].ended <= until:
            due.append(self._writes.popleft())
        told = await asyncio.gather(*(self._answered(notes, write) for write in due))
        return [
            answered
            for write, answered in zip(due, told, strict=True)
            if answered or (answered is False and heard_at > write.ended and self._expected(write))
        ]

    def _expected(self, write: _Write) -> bool:
        return all(kind_of(tag) in self._kinds for tag in write.tags)

    async def _answered(self, notes: Notes, write: _Write) -> bool | None:
        """One answered tag of several is enough, because an event may name fewer tags than its write changed."""
        told = [await notes.answered(tag, write.intent) for tag in write.tags]
        return True if True in told else None if None in told else False
