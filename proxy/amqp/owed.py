"""`Owed`: which of our own writes have had an event of their own, so that one mute media service among several shows.

Rules:
    owed      a write through this process that has succeeded; its tags' hashes hold a note of it, which the next event
              that names the tag answers, whoever applies it (`lua/invalidate.lua`)
    judged    once its event would have come: it has had its event, or has had none. A note that is gone (evicted,
              flushed, removed by a proxy of another version) says nothing
    none      counts only where events come and name tags of that kind: some event was applied after the write ended
              (else all are mute, which shows otherwise), and some event here has named a tag of the kind
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
    """Where the notes are; see `EventRecord`."""

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        """Whether an event has named the tag since the write began; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class _Write:
    tags: tuple[str, ...]
    intent: bytes
    ended: float


class Owed:
    """Of this process. Of more writes than it can keep, the latest are not judged."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._kinds: OrderedDict[str, None] = OrderedDict()

    def wrote(self, tags: tuple[str, ...], intent: bytes, now: float) -> None:
        """A write has succeeded."""
        if tags and len(self._writes) < _MOST_OWED:
            self._writes.append(_Write(tags, intent, now))

    def heard(self, tags: Iterable[str]) -> None:
        """An event was applied that names these."""
        for kind in map(kind_of, tags):
            self._kinds[kind] = None
            self._kinds.move_to_end(kind)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)

    def forget(self) -> None:
        """What is owed now is not judged."""
        self._writes.clear()

    async def judged(self, notes: Notes, until: float, heard_at: float = -math.inf) -> list[bool]:
        """Of the writes that had ended by then, in their order, whether each has had its event; those that say nothing
        are left out. `heard_at`: when any proxy applied an event last.
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
        """Of several tags one that is answered is enough: an event may name fewer than its write has changed."""
        told = [await notes.answered(tag, write.intent) for tag in write.tags]
        return True if True in told else None if None in told else False
