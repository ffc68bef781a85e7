"""`Sample`: what a proxy holds at one moment; `findings`: which of it grew with the number of calls.

A call that leaves anything behind shows as a slope, whatever the noise of single samples: RSS includes what C code
keeps (gRPC's core), and Python's allocated blocks each small Python object. Tasks, descriptors and connections are
counted exactly, at rest, and must be the same as before.
"""

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

from tests.soak import counted
from tests.soak.connections import connections
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

WARM_UP = 1 / 3
"""Share of the calls after which caches, connections and the allocator's arenas have reached their full size."""
RSS_PER_CALL, RSS_NOISE = 100.0, 4 << 20
HEAP_PER_CALL = 150.0
"""Bytes. 40 to 50 a call of this mix do stay, hardly any in Python's objects: 130 to 170 of each that is cut short,
which are three in ten. That is as much as grpc.aio (1.85, grpc#43360) keeps, which never frees what it had given to
its core for a wait that is cancelled: a bare grpc.aio server keeps 99 bytes of each call that its caller cancels, and
none of the others; a bare client up to 300 of each stream that it cancels. A busy machine cuts more calls short,
hence three times as much. What these limits find is worse: one kept call of ours is thousands of bytes.
"""
BLOCKS_PER_CALL = 0.5
"""What a call leaves behind is one block at the least, and for each call that is cut short a dozen (task, frame, call).
Without any leak 20,000 calls still warm up: writes with an unknown outcome are remembered for 30 s,
the admin page's readings for five minutes."""


class CountedProxy(ProxyProcess):
    """A proxy that reports what it holds on a signal."""

    def __init__(self, **settings: str) -> None:
        super().__init__(module="tests.soak.counted", **settings)

    async def sample(self, calls: int) -> "Sample":
        told = self.stdout.count(counted.END)
        self.child.signal(counted.TELL)
        line = (await self.logged(counted.END, told + 1))[-1]
        held = json.loads(line.removeprefix(counted.MARK).removesuffix(counted.END))
        return Sample(
            calls,
            rss=_rss(self.pid),
            heap=held["heap"],
            blocks=held["blocks"],
            tasks=held["tasks"],
            descriptors=len(os.listdir(f"/proc/{self.pid}/fd")),  # noqa: PTH208 -- names only, they may be gone
            connections=len(connections(self.pid)),
            kinds=Counter(held["kinds"]),
        )

    async def at_rest(self, calls: int, like: tuple[int, ...]) -> "Sample":
        """A sample once there are no more tasks, descriptors and connections than these; after a minute as it is."""
        latest = await self.sample(calls)

        async def over() -> bool:
            nonlocal latest
            latest = await self.sample(calls)
            return all(now <= then for now, then in zip(latest.counted, like, strict=True))

        with suppress(TimeoutError):  # `findings` tells what is left
            await until(over, "the proxy to be at rest", 60)
        return latest


@dataclass(frozen=True, slots=True)
class Sample:
    """The state after a number of calls, with none in progress. `rss` in bytes; `blocks` are allocated by Python."""

    calls: int
    rss: int
    heap: int
    blocks: int
    tasks: int
    descriptors: int
    connections: int
    kinds: Counter[str] = field(default_factory=Counter)
    """The number of objects of each type that the collector tracks; the proxy froze those of its start."""

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.tasks, self.descriptors, self.connections

    def __str__(self) -> str:
        rss, heap = self.rss / (1 << 20), self.heap / (1 << 20)
        memory = f"{self.calls:>7} calls  {rss:6.1f} MiB  {heap:6.2f} MiB by malloc  {self.blocks} blocks"
        return f"{memory}  {self.tasks} tasks  {self.descriptors} descriptors  {self.connections} connections"


@dataclass(frozen=True, slots=True)
class Growth:
    """Of each call after the warm-up, by lines fitted through the samples: bytes of RSS and malloc, blocks."""

    calls: int
    rss: float
    heap: float
    blocks: float

    def __str__(self) -> str:
        each = f"{self.rss:+.0f} bytes of RSS, {self.heap:+.0f} by malloc, {self.blocks:+.3f} blocks"
        return f"for each of {self.calls} calls after the warm-up: {each}"


def growth(samples: list[Sample]) -> Growth:
    """How much more of each there is, per call."""
    settled = [sample for sample in samples if sample.calls >= WARM_UP * samples[-1].calls]
    calls = [sample.calls for sample in settled]
    rss, heap, blocks = (
        linear_regression(calls, [getattr(sample, name) for sample in settled]).slope
        for name in ("rss", "heap", "blocks")
    )
    return Growth(calls[-1] - calls[0], rss, heap, blocks)


def at_most(samples: list[Sample]) -> tuple[int, ...]:
    """Tasks, descriptors and connections: the most of each in the warm-up. One alone may fall into a reconnect."""
    warming = [sample.counted for sample in samples if sample.calls <= WARM_UP * samples[-1].calls]
    return tuple(map(max, zip(*warming, strict=True)))


def findings(samples: list[Sample]) -> list[str]:
    """What grew, one line each; for leaks in Python also the types that grew."""
    found = []
    grown = growth(samples)
    if grown.rss * grown.calls > RSS_NOISE + RSS_PER_CALL * grown.calls:
        found.append(f"RSS grew by {grown.rss * grown.calls / (1 << 20):.1f} MiB")
    if grown.heap > HEAP_PER_CALL:
        found.append(f"what malloc gave out grew by {grown.heap:.0f} bytes a call")
    if grown.blocks > BLOCKS_PER_CALL:
        found.append(f"{grown.blocks:.2f} blocks are left of each call")
    end = samples[-1]
    for name, before, after in zip(("tasks", "descriptors", "connections"), at_most(samples), end.counted, strict=True):
        if after > before:
            found.append(f"{name}: {after}, and at most {before} during the warm-up")
    if found:
        middle = next(sample for sample in samples if sample.calls >= WARM_UP * end.calls)
        more = (end.kinds - middle.kinds).most_common(5)
        found.append(f"more than after the warm-up: {', '.join(f'{count} {kind}' for kind, count in more)}")
    return found


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
