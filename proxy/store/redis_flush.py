"""`flush`: invalidates every tag of the namespace, or of some services, on every master."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from proxy.calls.keys import share_of
from proxy.errors import RedisUnavailableError, UnexpectedReplyError
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology
from proxy.store.script_runs import run_script

FLUSH_STEP = 1.0
"""Seconds that one step may take."""
_OF_SERVICE = Script("of_service")
_SCAN_COUNT = b"200"  # keys scanned in one step, and invalidated by one script


@dataclass(slots=True)
class Progress:
    """How far the flush is that is under way."""

    share: float | None = None
    """The share of the keys that has been looked at, estimated; None if no flush is under way."""
    tags: int = 0
    """How many tags have been invalidated so far."""


async def flush(
    nodes: Sequence[Node],
    pattern: bytes,
    invalidate: Callable[[tuple[bytes, ...]], Awaitable[int]],
    progress: Progress | None = None,
) -> int:
    """Calls `invalidate` for all keys that match `pattern`, with the keys of one script at a time. Returns the sum of
    its results. Raises RedisUnavailableError if a node is away. Keeps `progress` up to date until it ends.
    """
    if not nodes:
        raise RedisUnavailableError("not connected yet")
    progress = Progress() if progress is None else progress
    walks = [*nodes, *(nodes if len(nodes) > 1 else ())]  # a key that moves between nodes may escape the first pass
    progress.tags, removed = 0, 0
    try:
        for number, node in enumerate(walks):
            progress.share = number / len(walks)
            removed += await _flush_node(node, pattern, invalidate, progress, 1 / len(walks))
    finally:
        progress.share = None
    return removed


async def of_services(topology: Topology, keys: tuple[bytes, ...], services: Collection[str]) -> tuple[bytes, ...]:
    """The keys that concern one of these services. A fetch that begins after this check also begins after the flush,
    so the flush need not cover it. Raises RedisUnavailableError.
    """
    found = set().union(*[await _of_service(topology, keys, share_of(service)) for service in services])
    return tuple(key for key in keys if key in found)


async def _of_service(topology: Topology, keys: tuple[bytes, ...], share: bytes) -> set[bytes]:
    reply = await run_script(topology, _OF_SERVICE, keys, lambda _: (share,), Budget(FLUSH_STEP))
    if not isinstance(reply, list) or len(reply) != len(keys):
        raise UnexpectedReplyError
    return {key for key, told in zip(keys, reply, strict=True) if told}


async def _flush_node(
    node: Node,
    pattern: bytes,
    invalidate: Callable[[tuple[bytes, ...]], Awaitable[int]],
    progress: Progress,
    share: float,
) -> int:
    """Looks at all keys of a node, which are this `share` of the whole."""
    removed, cursor, before = 0, b"0", progress.share or 0.0
    while True:
        reply = await node.ask(Budget(FLUSH_STEP), b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
        if not isinstance(reply, list):
            raise UnexpectedReplyError("SCAN")
        cursor, names = reply
        batches = [(name,) for name in names] if node.one_slot else [tuple(names)] if names else []
        for outcome in await asyncio.gather(*map(invalidate, batches), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            removed += outcome
            progress.tags += outcome
        if cursor == b"0":
            return removed
        if not node.one_slot:  # a Cluster's cursor has the slot in its lowest bits, in newer versions only
            progress.share = before + share * _walked(int(cursor))


def _walked(cursor: int) -> float:
    """The share of a hash table that SCAN has walked through. The cursor counts with its bits in reverse order, so
    that it stays valid when the table grows: bit 0 set means that half of it is behind.
    """
    return sum(0.5 ** (bit + 1) for bit in range(cursor.bit_length()) if cursor >> bit & 1)
