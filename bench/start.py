"""What a start costs: the time until the port is open and until `/readyz`, the cost by package, the memory after it.

    python -m bench.start --against DIR     compares with the tree DIR (`git worktree add DIR REVISION`)

Starts alternate, and a ratio is the median of the ratios within each round, since the machine may be busy; CPU time
hardly depends on that.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import Tree
from bench.stack import TRANSPORTS
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

_ROUNDS = 9
SERVE = ("proxy.cli", "proxy.app", "uvloop", "proxy.operating")
"""The modules that `serve` loads, in this order."""
_PARTS = 10


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds, and for each process its private memory and its file pages in MB."""

    open: float
    ready: float
    cpu: float
    resident: float
    private: tuple[float, ...]


Starts = Mapping[str, list[Start]]
Parts = Mapping[str, tuple[float, float]]
"""CPU time in ms and memory in MB, by package."""


async def starts(trees: Iterable[Path], rounds: int = _ROUNDS) -> dict[Path, dict[str, list[Start]]]:
    """Measures starts of each tree by transport, alternately and with the same Redis; the first round is a warm-up."""
    found: dict[Path, dict[str, list[Start]]] = {tree: {each: [] for each in TRANSPORTS} for tree in trees}
    async with RedisServer() as redis:
        for number in range(rounds + 1):
            for transport in TRANSPORTS:
                for tree, of_tree in found.items():
                    one = await started(tree, TRANSPORT=transport, REDIS_ADDR=redis.addr)
                    if number:
                        of_tree[transport].append(one)
    return found


async def started(tree: Path, **settings: str) -> Start:
    """Measures one start of this tree."""
    proxy = ProxyProcess(MEDIA_SERVICE_ADDR="127.0.0.1:1", **settings)
    proxy.child.env = {**(proxy.child.env or {}), "PYTHONPATH": str(tree)}
    begun = time.perf_counter()
    try:
        proxy.child.spawn()
        await until(lambda: _open(proxy), "the port")
        opened = time.perf_counter() - begun
        await until(proxy.serving, "the proxy to be ready")
        ready, process = time.perf_counter() - begun, Tree(proxy.pid)
        return Start(opened, ready, process.cpu(), process.resident(), tuple(process.private()))
    finally:
        proxy.kill()
        proxy.remove()


async def _open(proxy: ProxyProcess) -> bool:
    proxy.child.require_running()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
    except OSError:
        return False
    writer.close()
    return True


def parts(modules: Iterable[str] = SERVE, rounds: int = _ROUNDS) -> Parts:
    """The cost of loading by package: medians, the largest in memory first."""
    command = [sys.executable, "-m", "bench.loading", *modules]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    runs = []
    for _ in range(rounds):
        answer = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        runs.append(json.loads(answer.stdout))
    found = {
        name: (
            1000 * statistics.median(run[name][0] for run in runs),
            statistics.median(run[name][1] for run in runs) / (1 << 20),
        )
        for name in runs[0]
    }
    return dict(sorted(found.items(), key=lambda part: -part[1][1]))


def largest(found: Parts) -> Parts:
    """The ten largest, and the sum of the rest."""
    names = list(found)
    rest = [found[name] for name in names[_PARTS:]]
    shown = {name: found[name] for name in names[:_PARTS]}
    return shown | {f"{len(rest)} others": (sum(ms for ms, _ in rest), sum(mb for _, mb in rest))}


def median(runs: Iterable[Start], what: str) -> float:
    """The median of one figure."""
    return float(statistics.median(getattr(run, what) for run in runs))


def ratios(now: Iterable[Start], before: Iterable[Start]) -> dict[str, float]:
    """Medians of the ratios within each round."""
    pairs = list(zip(now, before, strict=True))
    return {
        what: statistics.median(getattr(one, what) / getattr(other, what) for one, other in pairs)
        for what in ("open", "ready", "cpu", "resident")
    }


def main() -> None:
    """Prints the ratios against another tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    arguments = parser.parse_args()
    before = arguments.against.resolve()
    found = asyncio.run(starts((ROOT, before), arguments.rounds))
    for transport in TRANSPORTS:
        shown = ratios(found[ROOT][transport], found[before][transport])
        medians = {what: [round(median(found[tree][transport], what), 2) for tree in found] for what in shown}
        print(transport, {what: f"{ratio:.2f} {medians[what]}" for what, ratio in shown.items()})


if __name__ == "__main__":
    main()
