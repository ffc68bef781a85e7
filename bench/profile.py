"""Where a call's CPU goes: py-spy's samples of every Python thread, native frames included, each given to its owner.

The kernel's account of each thread says how much CPU a call took; the samples say for whom (`owners`). Threads without
a sample never run Python: those of gRPC's core, or of Envoy. The servers that do the least (`floors`) are looked at in
the same way: what the proxy takes beyond them is what could be removed at most.
"""

import asyncio
import re
import sys
import sysconfig
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import load, owners
from bench.accounting import threads
from bench.load import Asked
from bench.stack import FLOORS, Stack
from bench.subjects import FORWARDED, READ, check

Shares = dict[str, float]
"""By owner, µs of CPU a call."""

ECHO, LOOK, HIT, FORWARDING, PASSED, IN_ENVOY = (
    *("bare echo", "echo with one HGET", "hit", "bare forwarding", "forwarded call", "hit in Envoy"),
)
_SECONDS, _RATE, _CALLERS, _CALLS = 8, 150, 8, 1000
_THREAD = re.compile(r"thread \((\d+)\)")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of call: whom it asks what, and whose its threads are that run no Python."""

    server: str
    asked: Asked
    others: str = owners.CORE_THREADS


KINDS = {
    ECHO: _Kind("echo", READ),
    LOOK: _Kind("look", READ),
    HIT: _Kind("proxy-grpcio", READ),
    FORWARDING: _Kind("pass", FORWARDED),
    PASSED: _Kind("proxy-grpcio", FORWARDED),
    IN_ENVOY: _Kind("proxy-envoy", READ, owners.ENVOY),
}


async def run() -> dict[str, Shares]:
    """By kind of call."""
    async with Stack() as stack:
        await stack.start(*FLOORS, "proxy-grpcio", "proxy-envoy")
        await check(stack)
        return {name: await _of(stack, kind) for name, kind in KINDS.items()}


async def _of(stack: Stack, kind: _Kind) -> Shares:
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        raw = Path(folder, "raw")
        spent, calls = await _record(stack, kind, raw)
        return per_call(_read(raw), spent, calls, kind.others)


def _read(raw: Path) -> list[str]:
    return raw.read_text().splitlines()


async def _record(stack: Stack, kind: _Kind, raw: Path) -> tuple[dict[int, float], int]:
    """Seconds of each thread, and for how many calls."""
    server = stack.servers[kind.server]
    pid = server.tree.pids()[-1]  # Envoy's, of a proxy that has one
    spy = await asyncio.create_subprocess_exec(
        str(Path(sysconfig.get_path("scripts"), "py-spy")),
        *("record", "--pid", str(pid), "--duration", str(_SECONDS), "--rate", str(_RATE), "--format", "raw"),
        *("--native", "--threads", "--full-filenames", "--output", str(raw)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    before, runs = threads(pid), 0
    while spy.returncode is None:
        await load.run(server.address, server.tree, kind.asked, callers=_CALLERS, calls=_CALLS)
        runs += 1
    if await spy.wait():
        print(f"py-spy ended with status {spy.returncode}", file=sys.stderr)
    return {thread: seconds - before.get(thread, 0.0) for thread, seconds in threads(pid).items()}, runs * _CALLS


def per_call(folded: Iterable[str], spent: Mapping[int, float], calls: int, others: str) -> Shares:
    """Of folded stacks (`thread (ID): name;frame;frame count`): µs of a call by owner, the dearest first."""
    samples: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for line in folded:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        named = _THREAD.match(thread)
        if named and frames and not owners.waits(frames):
            samples[int(named[1])][owners.owner(frames)] += int(count)
    found: defaultdict[str, float] = defaultdict(float)
    for number, seconds in spent.items():
        shares = samples.get(number) or Counter({others: 1})
        for name, of_it in shares.items():
            found[name] += 1e6 * seconds / calls * of_it / shares.total()
    return dict(sorted(found.items(), key=lambda each: -each[1]))
