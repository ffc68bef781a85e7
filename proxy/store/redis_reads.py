"""`Reads`: the hit path in Redis: one plain read of one field, and the rules by which its result may be served.

A read is awaited as a whole (`read`), or in two halves (`begin`, `ended`) between which the caller awaits Redis' reply:
so the fast path of a hit needs no coroutine here.
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
    """An entry and the clock to judge it by."""

    entry: Entry
    now_ms: float

    @property
    def fresh(self) -> bool:
        return self.now_ms < self.entry.fresh_until_ms

    def answers(self, most: int) -> bool:
        """Whether it is fresh, and a message of at most so many bytes."""
        entry = self.entry
        return self.now_ms < entry.fresh_until_ms and entry.negative is None and len(entry.body) <= most

    @property
    def age(self) -> int:
        """Whole seconds."""
        return self.entry.age(self.now_ms)


@dataclass(slots=True)
class Look:
    """One read under way, and what it found. `reply` is awaited between `begin` and `ended`."""

    key: RequestKey
    node: Node
    run_id: bytes
    """The node's as it was asked."""
    reply: Reply
    begun: float
    """When Redis was asked, by `time.monotonic`."""
    found: Found | None = None
    """An entry, possibly a stale one."""
    failed: bool = False
    """Redis gave no usable answer."""
    left: float = CALL_BUDGET
    """Seconds of the call's budget that remain after it."""


class Reads:
    """`node_for` tells whose a key is, None before that is known; `gap` since when events are missing."""

    def __init__(self, node_for: Callable[[bytes], Node | None], gap: EventGap) -> None:
        self._node_for = node_for
        self._gap = gap

    async def read(self, key: RequestKey, budget: Budget) -> Found | None:
        """The entry, a stale one too; None where there is none to serve. RedisUnavailableError."""
        node = self._node_for(key.hash_key)
        if node is None:
            raise RedisUnavailableError("not connected yet")
        run_id, asked = node.run_id, node.usable
        try:
            value = await node.ask(budget, b"HGET", key.hash_key, key.entry)
        except REDIRECTIONS:
            return None  # the acquire that follows goes where the key is now
        except RedisUnavailableError:
            if asked:
                node.shed(key.hash_key, key.entry)
            raise
        return self._judged(key, node, run_id, value, time.monotonic())

    def begin(self, key: RequestKey) -> Look | None:
        """Asks Redis; None means that there is no healthy node to ask. `ended` follows in any case."""
        node = self._node_for(key.hash_key)
        if node is None or not node.usable:
            return None
        return Look(key, node, node.run_id, *node.begin(FIRST_SHARE, b"HGET", key.hash_key, key.entry))

    def ended(self, look: Look) -> Look:
        """Fills in what `read` would return or raise. Nothing is found where the wait was given up."""
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
        """What may be served of Redis' reply at `now`, of `time.monotonic`."""
        found = entry.decode(value, run_id=run_id, identity=key.identity)
        health = node.health
        if found is None or found.born_ms < health.min_born_ms():
            return None
        now_ms = health.clock.now_ms(now)
        if found.born_ms > now_ms and node.is_ahead(found.born_ms):
            return None  # of a clock that was set back since
        fresh_until_ms = self._gap.fresh_until_ms(found.born_ms, found.fresh_until_ms, now_ms)
        if fresh_until_ms != found.fresh_until_ms:
            found = replace(found, fresh_until_ms=fresh_until_ms)
        return Found(found, now_ms) if now_ms < found.stale_until_ms else None
