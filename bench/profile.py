"""Where a call's CPU goes: py-spy's samples of every Python thread, native frames included, each assigned to its owner.

The kernel's account of each thread gives the CPU of a call; the samples distribute it (`owners`). The account is taken
before py-spy starts, because py-spy stops all threads for each sample, and waking them doubles the CPU of a proxy's
call. Threads without a sample never run Python: those of gRPC's core, or of Envoy. The minimal servers (`floors`) are
measured in the same way: what the proxy takes beyond them is the most that could be saved.
"""

import asyncio
import re
import sys
import sysconfig
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import load, owners
from bench.accounting import threads
from bench.load import Asked
from bench.stack import FLOORS, Stack
from bench.subjects import FORWARDED, READ, check

Shares = dict[str, float]
"""CPU per call in µs, by owner."""

ECHO, LOOK, SHAPE, HIT, FORWARDING, PASSED, IN_ENVOY = (
    *(
        "bare echo",
        "echo with one HGET",
        "echo with one HGET in a hit's shape",
        "hit",
        "bare forwarding",
        "forwarded call",
        "hit in Envoy",
    ),
)
_ROUNDS, _SECONDS, _RATE = 4, 3, 150
_CALLERS, _CALLS = 8, 500
_COUNTED = 2000
"""Calls of a round by whose CPU the samples are weighed."""
_THREAD = re.compile(r"thread \((\d+)\)")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of call: its server and request, and the owner of the server's threads that run no Python."""

    server: str
    asked: Asked
    others: str = owners.CORE_THREADS


KINDS = {
    ECHO: _Kind("echo", READ),
    LOOK: _Kind("look", READ),
    SHAPE: _Kind("shape", READ),
    HIT: _Kind("proxy-grpcio", READ),
    FORWARDING: _Kind("pass", FORWARDED),
    PASSED: _Kind("proxy-grpcio", FORWARDED),
    IN_ENVOY: _Kind("proxy-envoy", READ, owners.ENVOY),
}


@dataclass(slots=True)
class _Record:
    """The samples of one kind of call over all rounds."""

    stacks: list[str] = field(default_factory=list)
    spent: Counter[int] = field(default_factory=Counter)
    """CPU time in nanoseconds by thread."""
    calls: int = 0
    """The number of calls that took this much."""


async def run() -> dict[str, Shares]:
    """Measures all kinds of calls. They alternate, so that other load on the machine affects all alike."""
    async with Stack() as stack:
        await stack.start(*FLOORS, "proxy-grpcio", "proxy-envoy")
        await check(stack)
        found = {name: _Record() for name in KINDS}
        for _ in range(_ROUNDS):
            for name, kind in KINDS.items():
                await _record(stack, kind, found[name])
        return {
            name: per_call(found[name].stacks, found[name].spent, found[name].calls, kind.others)
            for name, kind in KINDS.items()
        }


async def _record(stack: Stack, kind: _Kind, record: _Record) -> None:
    """Takes the account first, then the samples."""
    server = stack.servers[kind.server]
    pid = server.tree.pids()[-1]  # for a proxy with Envoy, Envoy's
    before = threads(pid)
    await load.run(server.address, server.tree, kind.asked, callers=_CALLERS, calls=_COUNTED)
    record.spent.update({thread: spent - before.get(thread, 0) for thread, spent in threads(pid).items()})
    record.calls += _COUNTED
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        raw = Path(folder, "raw")
        spy = await asyncio.create_subprocess_exec(
            str(Path(sysconfig.get_path("scripts"), "py-spy")),
            *("record", "--pid", str(pid), "--duration", str(_SECONDS), "--rate", str(_RATE), "--format", "raw"),
            *("--native", "--threads", "--full-filenames", "--output", str(raw)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        while spy.returncode is None:
            await load.run(server.address, server.tree, kind.asked, callers=_CALLERS, calls=_CALLS)
        if await spy.wait():
            print(f"py-spy ended with status {spy.returncode}", file=sys.stderr)
        record.stacks += _read(raw)


def _read(raw: Path) -> list[str]:
    return raw.read_text().splitlines()


def per_call(folded: Iterable[str], spent: Mapping[int, int], calls: int, others: str) -> Shares:
    """Distributes each thread's nanoseconds over the owners in its folded stacks (`thread (ID): name;frame;frame
    count`); the largest first.
    """
    samples: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for line in folded:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        named = _THREAD.match(thread)
        if named and frames and not owners.waits(frames):
            samples[int(named[1])][owners.owner(frames)] += int(count)
    found: defaultdict[str, float] = defaultdict(float)
    for number, nanoseconds in spent.items():
        shares = samples.get(number) or Counter({others: 1})
        for name, of_it in shares.items():
            found[name] += nanoseconds / 1000 / calls * of_it / shares.total()
    return dict(sorted(found.items(), key=lambda each: -each[1]))
