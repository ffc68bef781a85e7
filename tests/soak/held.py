"""`Sample`: what a proxy holds at one moment; `findings`: what of it grew with the number of calls.

A call that leaves anything behind shows as a slope, whatever the noise of single samples: RSS counts what C code keeps
(gRPC's core), Python's allocated blocks each small object of ours. Tasks, descriptors and connections are counted
exactly, at rest, and must be what they were.
"""

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

from tests.servers.process import ProxyProcess
from tests.servers.waiting import until
from tests.soak import counted

WARM_UP = 1 / 3
"""Share of the calls after which caches, connections and the allocator's arenas are as large as they get."""
LARGEST_GROWTH = 4 << 20
"""Bytes of RSS over the calls after the warm-up: at 200,000 calls 31 for each, less than any object of C or Python."""
BLOCKS_PER_CALL = 0.5
"""What a call leaves behind is one block at the least, and for each call that is cut short a dozen (task, frame, call).
Without any leak 20,000 calls still warm up: writes with an unknown outcome are remembered for 30 s."""


class CountedProxy(ProxyProcess):
    """It tells of itself on a signal."""

    def __init__(self, **settings: str) -> None:
        super().__init__(module="tests.soak.counted", **settings)

    async def sample(self, calls: int) -> "Sample":
        told = self.stdout.count(counted.MARK)
        self.child.signal(counted.TELL)
        line = (await self.logged(counted.MARK, told + 1))[-1]
        held = json.loads(line.removeprefix(counted.MARK))
        sockets = _sockets(self.pid)
        return Sample(
            calls,
            rss=_rss(self.pid),
            blocks=held["blocks"],
            tasks=held["tasks"],
            descriptors=len(os.listdir(f"/proc/{self.pid}/fd")),  # noqa: PTH208 -- names only, they may be gone
            connections=len(sockets & _established(self.pid)),
            kinds=Counter(held["kinds"]),
        )

    async def at_rest(self, calls: int, like: "Sample") -> "Sample":
        """A sample once nothing is held that `like` did not hold; after a minute with what still is."""
        latest = like

        async def over() -> bool:
            nonlocal latest
            latest = await self.sample(calls)
            return all(now <= then for now, then in zip(latest.counted, like.counted, strict=True))

        with suppress(TimeoutError):  # `findings` tells what is left
            await until(over, "the proxy to be at rest", 60)
        return latest


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many calls, none under way. `rss` in bytes; `blocks` are pieces of memory that Python has given out."""

    calls: int
    rss: int
    blocks: int
    tasks: int
    descriptors: int
    connections: int
    kinds: Counter[str] = field(default_factory=Counter)
    """How many objects there are of each type that the collector knows."""

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.tasks, self.descriptors, self.connections

    def __str__(self) -> str:
        memory = f"{self.calls:>7} calls  {self.rss / (1 << 20):6.1f} MiB  {self.blocks} blocks"
        return f"{memory}  {self.tasks} tasks  {self.descriptors} descriptors  {self.connections} connections"


def growth(samples: list[Sample]) -> tuple[float, float]:
    """Bytes of RSS over all calls after the warm-up, and blocks for each call: by a line fitted through the samples."""
    settled = [sample for sample in samples if sample.calls >= WARM_UP * samples[-1].calls]
    calls = [sample.calls for sample in settled]
    rss, blocks = ([getattr(sample, name) for sample in settled] for name in ("rss", "blocks"))
    return linear_regression(calls, rss).slope * (calls[-1] - calls[0]), linear_regression(calls, blocks).slope


def findings(samples: list[Sample]) -> list[str]:
    """What grew, a line each; of leaks in Python also which types there are more of."""
    found = []
    by_rss, by_blocks = growth(samples)
    if by_rss > LARGEST_GROWTH:
        found.append(f"RSS grew by {by_rss / (1 << 20):.1f} MiB")
    if by_blocks > BLOCKS_PER_CALL:
        found.append(f"{by_blocks:.2f} blocks are left of each call")
    start, end = samples[0], samples[-1]
    for name, before, after in zip(("tasks", "descriptors", "connections"), start.counted, end.counted, strict=True):
        if after > before:
            found.append(f"{name}: {after}, and {before} at the start")
    if found:
        middle = next(sample for sample in samples if sample.calls >= WARM_UP * end.calls)
        more = (end.kinds - middle.kinds).most_common(5)
        found.append(f"more than after the warm-up: {', '.join(f'{count} {kind}' for kind, count in more)}")
    return found


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _sockets(pid: int) -> set[str]:
    """The inodes of its sockets."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def _established(pid: int) -> set[str]:
    """The inodes of all established TCP connections."""
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[9] for row in rows if row[3] == "01"}
