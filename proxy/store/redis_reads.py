"""`Reads`: reads an entry with one HGET, and decides whether it may be served.

A read is one coroutine (`read`), or two halves (`begin`, `ended`) between which the caller awaits Redis' reply, so that
the fast path of a hit needs no coroutine here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from redis.exceptions import ClusterDownError

from proxy.calls import entry
from proxy.calls.entry import Entry
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import RequestKey
from proxy.errors import RedisUnavailableError
from proxy.store.redis_link import REDIRECTIONS, Reply
from proxy.store.redis_node import CALL_BUDGET, FIRST_SHARE, Budget, Node


@dataclass(slots=True)
class Found:
    """An entry that may be served, and the time at which it was judged, in ms of Redis' clock."""

    entry: Entry
    now_ms: float

    @property
    def fresh(self) -> bool:
        return self.now_ms < self.entry.fresh_until_ms

    def answers(self, most: int) -> bool:
        """Whether it is fresh and a message of at most `most` bytes, not a negative entry."""
        entry = self.entry
        return self.now_ms < entry.fresh_until_ms and entry.negative is None and len(entry.body) <= most

    @property
    def age(self) -> int:
        """Its age in whole seconds."""
        return self.entry.age(self.now_ms)


@dataclass(slots=True)
class Look:
    """A read in two halves, and what it found. `reply` is awaited between `begin` and `ended`."""

    key: RequestKey
    node: Node
    run_id: bytes
    """The node's run id when it was asked."""
    reply: Reply
    begun: float
    """When Redis was asked, by `time.monotonic`."""
    found: Found | None = None
    """The entry, possibly stale."""
    failed: bool = False
    """Redis gave no usable answer."""
    left: float = CALL_BUDGET
    """Seconds that remain of the call's budget."""


class Reads:
    """`node_for` returns the node of a key, or None before it is known. `gap` tells since when events have been
    missing."""

    def __init__(self, node_for: Callable[[bytes], Node | None], gap: EventGap) -> None:
        self._node_for = node_for
        self._gap = gap

    async def read(self, key: RequestKey, budget: Budget) -> Found | None:
        """The entry, possibly stale; None if there is none to serve. RedisUnavailableError."""
        node = self._node_for(key.hash_key)
        if node is None:
            raise RedisUnavailableError("not connected yet")
        run_id, asked = node.run_id, node.usable
        try:
            value = await node.ask(budget, b"HGET", key.hash_key, key.entry)
        except REDIRECTIONS:
            return None  # the `acquire` that follows asks the key's new node
        except RedisUnavailableError:
            if asked:
                node.shed(key.hash_key, key.entry)
            raise
        return self._judged(key, node, run_id, value, time.monotonic())

    def begin(self, key: RequestKey) -> Look | None:
        """Asks Redis; None if there is no healthy node to ask. `ended` must follow."""
        node = self._node_for(key.hash_key)
        if node is None or not node.usable:
            return None
        return Look(key, node, node.run_id, *node.begin(FIRST_SHARE, b"HGET", key.hash_key, key.entry))

    def ended(self, look: Look) -> Look:
        """Completes the Look with what `read` would return or raise. A cancelled wait finds nothing."""
        key, node, reply, now = look.key, look.node, look.reply, time.monotonic()
        look.left = node.ended(reply, look.begun, now, CALL_BUDGET)
        if reply.cancelled():
            return look
        error = reply.exception()
        if error is None:
            look.found = self._judged(key, node, look.run_id, reply.result(), now)
            return look
        if isinstance(error, REDIRECTIONS):
            look.failed = isinstance(error, ClusterDownError)
        else:
            look.failed = True
            node.shed(key.hash_key, key.entry)
        return look

    def _judged(self, key: RequestKey, node: Node, run_id: bytes, value: object, now: float) -> Found | None:
        """What may be served from Redis' reply at `now`, by `time.monotonic`."""
        found = entry.decode(value, run_id=run_id, identity=key.identity)
        health = node.health
        if found is None or found.born_ms < health.min_born_ms():
            return None
        now_ms = health.clock.now_ms(now)
        if found.born_ms > now_ms and node.is_ahead(found.born_ms):
            return None  # stored before the server's clock was set back
        fresh_until_ms = self._gap.fresh_until_ms(found.born_ms, found.fresh_until_ms, now_ms)
        if fresh_until_ms != found.fresh_until_ms:
            found = replace(found, fresh_until_ms=fresh_until_ms)
        return Found(found, now_ms) if now_ms < found.stale_until_ms else None
