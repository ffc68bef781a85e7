"""`flush`: invalidates every tag of the namespace, or of some services, on every master."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

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


async def flush(
    nodes: Sequence[Node], pattern: bytes, invalidate: Callable[[tuple[bytes, ...]], Awaitable[int]]
) -> int:
    """Calls `invalidate` for all keys that match `pattern`, with the keys of one script at a time. Returns the sum of
    its results. Raises RedisUnavailableError if a node is away.
    """
    if not nodes:
        raise RedisUnavailableError("not connected yet")
    removed = 0
    for _ in range(2 if len(nodes) > 1 else 1):  # a key that moves between nodes may escape the first pass
        for node in nodes:
            removed += await _flush_node(node, pattern, invalidate)
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


async def _flush_node(node: Node, pattern: bytes, invalidate: Callable[[tuple[bytes, ...]], Awaitable[int]]) -> int:
    removed, cursor = 0, b"0"
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
        if cursor == b"0":
            return removed
