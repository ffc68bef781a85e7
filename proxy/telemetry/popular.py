"""`Popular`: the models that were read most often in the last minutes, for operators.

Reads are counted in two *windows*, the current and the previous one, so the result covers between one and two windows.
Memory is bounded: if a window has too many models, the less-read half is dropped, so that the counts of rarely read
models may be too low.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 150.0
"""Seconds."""
_MOST_MODELS = 4096
_LONGEST_TAG = 200


@dataclass(frozen=True, slots=True)
class PopularModel:
    """A model and its number of reads."""

    tag: str
    reads: int
    cached: int
    """The reads that the cache answered."""


_Counts = dict[str, list[int]]
"""By tag, the number of reads and of those that the cache answered."""


class Popular:
    """Counts the reads of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._counted_since = clock()
        self._now: _Counts = {}
        self._before: _Counts = {}

    @property
    def seconds(self) -> float:
        """The length of the period that the counts cover."""
        self._turn()
        return self._clock() - self._counted_since

    def read(self, tag: str, *, cached: bool) -> None:
        """Counts a read of this model."""
        if self._clock() - self._begun >= WINDOW:
            self._turn()
        counts = self._now.get(tag)
        if counts is None:
            if len(tag) > _LONGEST_TAG:
                return
            if len(self._now) >= _MOST_MODELS:
                self._now = dict(_most_read(self._now)[: _MOST_MODELS // 2])
            counts = self._now[tag] = [0, 0]
        counts[0] += 1
        counts[1] += cached

    def top(self, most: int) -> list[PopularModel]:
        """The `most` models that were read most often, in descending order."""
        self._turn()
        both = {tag: list(counts) for tag, counts in self._before.items()}
        for tag, (reads, cached) in self._now.items():
            counts = both.setdefault(tag, [0, 0])
            counts[0] += reads
            counts[1] += cached
        return [PopularModel(tag, *counts) for tag, counts in _most_read(both)[:most]]

    def _turn(self) -> None:
        """Begins a new window if the current one is over."""
        now = self._clock()
        if now - self._begun < WINDOW:
            return
        recent = now - self._begun < 2 * WINDOW
        self._before, self._now = (self._now if recent else {}), {}
        self._counted_since = self._begun if recent else now
        self._begun = now


def _most_read(counts: _Counts) -> list[tuple[str, list[int]]]:
    return sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
