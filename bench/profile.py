"""Where the time of a call goes: samples of the proxy's event loop thread (py-spy), each given to the code that ran.

A sample belongs to the innermost frame. What gRPC's core, its Cython layer and uvloop do has no frame of its own: it
shows as the one that runs the event loop. So does the loop's waiting, but py-spy leaves out a thread that sleeps.
"""

import asyncio
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

from bench import load
from bench.load import Asked
from bench.stack import Stack
from bench.subjects import FORWARDED, READ, check

_SECONDS, _RATE, _CALLERS, _CALLS = 8, 200, 8, 1000
_THREAD = "MainThread"
_SERVER = "proxy-grpcio"

_PLACES = (
    ("Runner.run (", "gRPC's core and Cython, uvloop: turns, kernel, receiving from Redis"),
    ("_read (proxy/transport/server", "gRPC: starting to read the request"),
    ("Upstream.", "gRPC as a client: starting the call"),
    ("Wire.send (", "sending to Redis: the kernel's send()"),
    ("Wire._flush (", "sending to Redis: the kernel's send()"),
    ("proxy/store/redis_wire", "Redis' replies: parsing"),
    ("proxy/store/redis_link", "asking Redis: queueing, deadline, breaker, matching"),
    ("proxy/store/redis_waits", "asking Redis: queueing, deadline, breaker, matching"),
    ("proxy/store/redis_node", "asking Redis: queueing, deadline, breaker, matching"),
    ("proxy/store", "the store: which node, entry found"),
    ("proxy/calls", "key and entry: memo, header, checksum"),
    ("proxy/caching", "the cache's rules"),
    ("proxy/transport", "transport: layers, limits, metadata"),
    ("proxy/telemetry", "telemetry: metrics, tracing off"),
    ("prometheus_client", "telemetry: metrics, tracing off"),
    ("grpc/", "gRPC's Python layer"),
    ("asyncio", "asyncio: tasks and futures"),
    ("inspect.py", "gRPC's Python layer"),
    ("<frozen abc>", "gRPC's Python layer"),
)
_ELSE = "everything else"


async def run() -> dict[str, dict[str, float]]:
    """By kind of call, the share of each cost."""
    async with Stack() as stack:
        await stack.start(_SERVER)
        await check(stack)
        return {"hit": await _shares(stack, READ), "forwarded": await _shares(stack, FORWARDED)}


async def _shares(stack: Stack, asked: Asked) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        raw = Path(folder, "raw")
        await _record(stack, asked, raw)
        return shares(_read(raw))


async def _record(stack: Stack, asked: Asked, raw: Path) -> None:
    server = stack.servers[_SERVER]
    spy = await asyncio.create_subprocess_exec(
        str(Path(sysconfig.get_path("scripts"), "py-spy")),
        *("record", "--pid", str(server.tree.pid), "--duration", str(_SECONDS), "--rate", str(_RATE)),
        *("--format", "raw", "--function", "--threads", "--output", str(raw)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def asking() -> None:
        while spy.returncode is None:
            await load.run(server.address, server.tree, asked, callers=_CALLERS, calls=_CALLS)

    await asyncio.gather(spy.wait(), asking())
    if spy.returncode:
        print(f"py-spy ended with status {spy.returncode}", file=sys.stderr)


def _read(raw: Path) -> list[str]:
    return raw.read_text().splitlines()


def shares(folded: list[str]) -> dict[str, float]:
    """Of folded stacks (`frame;frame;frame count`): the share of each place in the event loop's running time."""
    found: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if _THREAD in frames[0]:
            found[_place(frames[-1])] += int(count)
    total = sum(found.values())
    return {place: count / total for place, count in found.most_common()}


def _place(frame: str) -> str:
    return next((place for part, place in _PLACES if part in frame), _ELSE)
