"""`census`: how many models are stored, and about how many bytes their answers take.

Redis does not know how large a namespace is, so the keys are counted by SCAN in small steps, and the size is estimated
from a sample. The time is bounded; if it runs out, the count is a lower bound.
"""

import time
from dataclasses import dataclass

from proxy.errors import RedisUnavailableError, UnexpectedReplyError
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_topology import Topology

_STEP = 1.0
_COUNT = b"200"
_SAMPLES = 100
_ENTRY = b"e"


@dataclass(frozen=True, slots=True)
class Census:
    """What was counted."""

    models: int
    bytes: int | None
    """The size of their answers, estimated from a sample; None if there is no model."""
    complete: bool
    """False if the time ran out first."""


async def census(topology: Topology, pattern: bytes, within: float) -> Census:
    """Counts matching keys on all masters for at most `within` seconds. RedisUnavailableError if a master is away."""
    if not (nodes := topology.nodes()):
        raise RedisUnavailableError("not connected yet")
    until, models, sizes, complete = time.monotonic() + within, 0, list[int](), True
    for node in nodes:
        cursor = b""
        while cursor != b"0" and complete:
            cursor, names = await _step(node, cursor or b"0", pattern)
            models += len(names)
            if names and len(sizes) < _SAMPLES:
                sizes.append(await _size(node, names[0]))
            complete = time.monotonic() < until
    return Census(models, models * sum(sizes) // len(sizes) if sizes else None, complete)


async def _step(node: Node, cursor: bytes, pattern: bytes) -> tuple[bytes, list[bytes]]:
    reply = await node.ask(Budget(_STEP), b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _COUNT)
    if not isinstance(reply, list):
        raise UnexpectedReplyError("SCAN")
    return reply[0], reply[1]


async def _size(node: Node, name: bytes) -> int:
    """The size of the answers in one hash, in bytes."""
    fields = await node.ask(Budget(_STEP), b"HKEYS", name)
    lengths = [
        await node.ask(Budget(_STEP), b"HSTRLEN", name, field)
        for field in (fields if isinstance(fields, list) else ())
        if field.startswith(_ENTRY)
    ]
    return sum(length for length in lengths if isinstance(length, int))
