"""What one HGET costs Redis when sent on many connections, on a shared one, and many at a time.

A pod's proxy keeps one connection, on which it writes all commands of one turn of its event loop together. Pods could
share a connection only with a process in between that sends many commands at a time. redis-benchmark makes the load;
the CPU time is the kernel's account of Redis.
"""

import asyncio
import statistics
from dataclasses import asdict, dataclass

from redis.asyncio import Redis

from bench.accounting import Tree
from tests.support.servers.children import program
from tests.support.servers.redis import RedisServer

_COMMANDS, _ROUNDS = 40_000, 5
_KEY, _FIELD, _BYTES = "model", "field", 512
WAYS = ((1, 1), (50, 1), (1000, 1), (1, 8), (1, 64), (50, 8))
"""Numbers of connections, and of commands that each sends at a time."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of sending the command."""

    connections: int
    at_a_time: int
    redis_us: float

    @property
    def name(self) -> str:
        """Its name in the table."""
        connections = "1 connection" if self.connections == 1 else f"{self.connections:,} connections"
        return f"{connections}, {self.at_a_time} at a time"


async def run() -> list[Way]:
    """Measures all of them alternately; returns medians."""
    async with RedisServer() as redis:
        async with Redis.from_url(f"redis://{redis.addr}") as client:
            await client.hset(_KEY, _FIELD, bytes(_BYTES))
        spent: dict[tuple[int, int], list[float]] = {way: [] for way in WAYS}
        for _ in range(_ROUNDS):
            for way in WAYS:
                spent[way].append(await _one(redis, *way))
        return [Way(*way, statistics.median(found)) for way, found in spent.items()]


async def _one(redis: RedisServer, connections: int, at_a_time: int) -> float:
    """Redis' CPU for one command, in microseconds."""
    _, _, port = redis.addr.rpartition(":")
    options = ["-p", port, "-c", str(connections), "-P", str(at_a_time), "-n", str(_COMMANDS), "-q"]
    tree = Tree(redis.child.pid)
    before = tree.cpu()
    load = await asyncio.create_subprocess_exec(
        program("redis-tools", "redis-benchmark"),
        *options,
        *("hget", _KEY, _FIELD),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await load.wait():
        raise RuntimeError(f"redis-benchmark ended with status {load.returncode}")
    return 1e6 * (tree.cpu() - before) / _COMMANDS


def shown(found: list[Way]) -> list[dict[str, float]]:
    """For the JSON file."""
    return [asdict(way) for way in found]
