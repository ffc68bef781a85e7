"""`RedisStore`: the cache's operations on Redis. One hash per tag; every operation is one round trip on one key.

Fields of a tag's hash: `e<field>` is an entry, `l<field>` a lease, `m` the mark of the last invalidation, `w<id>` a
write intent, and `d<id>` a note that this write's event is due. Times are those of this Redis' clock. The rules are in
the scripts under `lua/`; ARCHITECTURE.md explains them together.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from proxy.calls import entry
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys, RequestKey
from proxy.calls.reads import Verdict
from proxy.errors import RedisUnavailableError, UnexpectedReplyError
from proxy.settings.setting_types import RedisTarget
from proxy.store.dependants import SCRIPTS, Dependants, Left, Overtaken, all_of
from proxy.store.model_hash import LIMITS
from proxy.store.redis_connecting import Changed, Listeners, Probing
from proxy.store.redis_flush import FLUSH_STEP, Progress, flush, of_services
from proxy.store.redis_link import REDIRECTIONS, Reply
from proxy.store.redis_node import Budget, Node, new_token
from proxy.store.redis_reads import Found, Reads
from proxy.store.redis_scripts import Script, send, send_script
from proxy.store.redis_topology import Topology, topology
from proxy.store.script_runs import run_script
from proxy.store.write_probe import WriteProbe
from proxy.tls import Leg

LEASE_MS = 10_000
_ALIAS_MARGIN_MS = 60_000

_ACQUIRE, _FILL, _RELEASE, _INVALIDATE = map(Script, ("acquire", "fill", "release", "invalidate"))


def probing(keys: Keys) -> Probing:
    """Creates the probe that checks whether a node accepts invalidations."""
    return lambda owns: WriteProbe(_INVALIDATE.sha, _INVALIDATE.source, keys.probe_prefix, LIMITS, owns)


_SCRIPTS = tuple(script.source for script in (_ACQUIRE, _FILL, _RELEASE, _INVALIDATE, *SCRIPTS))


@dataclass(frozen=True, slots=True)
class Grant:
    """The result of `acquire`: `found` an entry, `lease` to fetch and fill, `held` by others, or `closed` to leases.

    `token` is the lease's, its holder's, or the mark's id, by which calls share a fetch that stores nothing (or b"").
    """

    kind: str
    token: bytes = b""
    run_id: bytes = b""
    found: Found | None = None


class RedisStore:
    """All methods except `usable` and those that only send raise RedisUnavailableError if Redis cannot answer."""

    def __init__(
        self,
        target: RedisTarget,
        keys: Keys,
        *,
        ttl: float,
        stale: float,
        changed: Changed,
        gap: EventGap | None = None,
        tls: Leg | None = None,
        dependants: bool = False,
    ) -> None:
        """`gap` tells since when events have been missing; None means that none are expected. `dependants` says that
        answers may depend on tags other than their own, here or in a proxy with another version of the policy.
        """
        self._with_dependants = dependants
        self._keys, self._ttl, self._stale = keys, ttl, stale
        self.gap = gap or EventGap(math.inf, lambda: 0.0)
        self._again: Callable[[float | None], None] = lambda since: None
        told = Listeners(changed, self._renewed)
        self._topology: Topology = topology(target, _SCRIPTS, told, tls, probing(keys))
        self._reads = Reads(self._topology.node_for, self.gap)
        self._dependants = Dependants(self._topology, keys, self._remove)
        self._whole = False
        self.flushing = Progress()

    def on_renewal(self, again: Callable[[float | None], None]) -> None:
        """Calls `again` as soon as another server is master, before its first reply is used. What was confirmed since
        the given time of `time.monotonic` may be missing there; None means that anything may be.
        """
        self._again = again

    def _renewed(self, since: float | None) -> None:
        """None also if there are several masters: a new one may not know what on the others depends on its tags."""
        nodes = self._topology.nodes()
        self._again(None if self._whole and len(nodes) > 1 and self._keys.dependent else since)
        self._whole = self._whole or all(node.run_id for node in nodes)

    async def run(self) -> None:
        """Connects and reconnects until cancelled."""
        await self._topology.run()

    @property
    def topology(self) -> Topology:
        """Which node has which key, for those who inspect what is stored."""
        return self._topology

    @property
    def trouble(self) -> str:
        """The trouble of the first node that has one; see `Node.trouble`."""
        return next((node.trouble for node in self._topology.nodes() if node.trouble), "")

    def usable(self, hash_key: bytes) -> bool:
        """Whether the node of this key can be asked now."""
        node = self._topology.node_for(hash_key)
        return node is not None and node.usable

    def any_usable(self) -> bool:
        """Whether any node can be asked now."""
        return any(node.usable for node in self._topology.nodes())

    def takes(self, tag: str) -> bool:
        """Whether the node of this tag can take its invalidation now."""
        return self.usable(self._keys.of_tag(tag))

    async def read(self, key: RequestKey, budget: Budget) -> Found | None:
        """One plain read; see `Reads`."""
        return await self._reads.read(key, budget)

    @property
    def reads(self) -> Reads:
        """For reads in two halves; see `Reads`."""
        return self._reads

    async def acquire(self, key: RequestKey, budget: Budget, *, take_over: bool = False) -> Grant:
        """The lease protocol's first step, before anything is fetched."""
        token, run_id = new_token(), b""

        def arguments(node: Node) -> tuple[bytes, ...]:
            nonlocal run_id
            run_id = node.run_id
            least_born = b"%d" % node.min_born_ms()
            force = b"1" if take_over else b"0"
            return key.field, run_id, token, b"%d" % LEASE_MS, least_born, force, *self._without_events(node), *LIMITS

        try:
            reply = await run_script(self._topology, _ACQUIRE, (key.hash_key,), arguments, budget)
        except (RedisUnavailableError, asyncio.CancelledError):
            # The script may have run or may still run; its lease must not block others.
            self.release(key, Grant("lease", token, run_id))
            raise
        if not isinstance(reply, list) or len(reply) != 3:
            raise UnexpectedReplyError
        kind, value, now_ms = reply
        if kind != b"entry":
            return Grant(kind.decode(), value, run_id)
        found = entry.decode(value, run_id=run_id, identity=key.identity)
        if found is None:
            # Foreign bytes in this field must not block it forever.
            return await self.acquire(key, budget, take_over=True)
        return Grant("found", found=Found(found, float(now_ms)))

    def fill(self, key: RequestKey, grant: Grant, body: bytes, verdict: Verdict, jitter: float) -> Reply | None:
        """Sends the answer and the aliases of its tag; later reads of this process find it. None if it cannot be sent.

        `jitter` in [0, 1) shortens the TTL by up to a twentieth. The future completes when Redis has stored the answer;
        it need not be awaited.
        """
        life = verdict.life
        usable_for = life.usable_from(time.time())
        if verdict.further_tags and self._forgets():
            usable_for = min(key.read.limits.ttl_with_further_tags, math.inf if usable_for is None else usable_for)
        ttl, stale_ms = self._lives(key, verdict)
        ttl_ms = int(self.gap.stored_for(ttl) * 1000 * (1 - 0.05 * jitter))
        arguments = (
            key.field,
            grant.run_id,
            grant.token,
            b"%d" % ttl_ms,
            b"%d" % stale_ms,
            b"" if life.until is None else b"%d" % (life.until * 1000),
            b"" if usable_for is None else b"%d" % (usable_for * 1000),
            entry.tail(key.identity, body, verdict.negative),
        )
        for alias in verdict.aliases:
            kept_for = b"%d" % (ttl * 1000 + stale_ms + _ALIAS_MARGIN_MS)
            alias_key = self._keys.of_alias(key.read.service, alias)
            send(self._topology.node_for(alias_key), b"SET", alias_key, key.tag.encode(), b"PX", kept_for, batch=0)
        return self._send_script(_FILL, key.hash_key, grant, *arguments, batch=len(verdict.aliases) + 1)

    async def depend(self, key: RequestKey, verdict: Verdict, began: float, budget: Budget) -> Overtaken:
        """Registers an answer with further tags, fetched since `began`, before it is filled; see `Dependants`."""
        ttl, stale_ms = self._lives(key, verdict)
        further = [tag for tag in verdict.further_tags if tag != key.tag]
        kept_ms = int(ttl * 1000) + stale_ms
        return await self._dependants.enter(key, further, kept_ms, began, budget) if further else ""

    def release(self, key: RequestKey, grant: Grant) -> Reply | None:
        """Releases a lease that will not be filled."""
        return self._send_script(_RELEASE, key.hash_key, grant, key.field, grant.run_id, grant.token)

    async def invalidate(
        self,
        tag: str,
        *,
        timeout: float,
        window_ms: int = 0,
        intent: bytes = b"",
        intent_ms: int = 0,
        clear: bytes = b"",
        due_ms: int = 0,
    ) -> Left | None:
        """Removes all entries of a tag (`lua/invalidate.lua`). Returns what depends on it and must go next, or None."""
        mark, due = new_token(), b"%d" % due_ms if due_ms else b""

        def arguments(node: Node) -> tuple[bytes, ...]:
            return node.run_id, mark, b"%d" % window_ms, intent, b"%d" % intent_ms, clear, *LIMITS, due

        keys = (self._keys.of_tag(tag),)
        own = run_script(self._topology, _INVALIDATE, keys, arguments, Budget(timeout), durable=True)
        if not self._with_dependants:
            await own
            return None
        told = b"%d" % window_ms, intent, b"%d" % intent_ms, clear
        left: Left | None
        _, left = await all_of((own, self._dependants.close(tag, told, Budget(timeout))))
        return left

    async def remove(self, tags: Sequence[str], timeout: float) -> None:
        """Removes all entries of tags whose answers depend on another tag; see `Dependants`."""
        await self._dependants.remove(tags, timeout)

    def forget(self, tag: str, left: Left, tags: Sequence[str]) -> None:
        """Records that these were removed and no longer depend on a tag, unless they were stored again since."""
        self._dependants.forget(tag, left, tags)

    async def tag_of(self, service: str, alias: str, budget: Budget) -> str | None:
        """The tag that an alias stands for; None if no fill has recorded it."""
        key = self._keys.of_alias(service, alias)
        node = self._topology.node_for(key)
        if node is None:
            raise RedisUnavailableError("not connected yet")
        try:
            value = await node.ask(budget, b"GET", key)
        except REDIRECTIONS:
            return None
        try:
            return value.decode() if isinstance(value, bytes) and value else None
        except UnicodeDecodeError:
            return None

    async def flush(self, services: Collection[str] = ()) -> int:
        """Invalidates every tag on every master, or only those with answers or fetches of these services. Returns how
        many. RedisUnavailableError if a node is away.

        The hashes are not unlinked, because the intents of writes in progress must stay.
        """

        async def invalidate(keys: tuple[bytes, ...]) -> int:
            if services:
                keys = await of_services(self._topology, keys, services)
            if keys:
                await self._remove(keys, FLUSH_STEP)
            return len(keys)

        return await flush(self._topology.nodes(), self._keys.tag_pattern, invalidate, self.flushing)

    async def _remove(self, keys: tuple[bytes, ...], timeout: float) -> None:
        """Invalidates tags by their hashes, all in one slot, for a flush: no event and no write is the cause."""

        def arguments(node: Node) -> tuple[bytes, ...]:
            return node.run_id, new_token(), b"0", b"", b"0", b"", *LIMITS

        await run_script(self._topology, _INVALIDATE, keys, arguments, Budget(timeout), durable=True)

    def _lives(self, key: RequestKey, verdict: Verdict) -> tuple[float, int]:
        """For how many seconds an answer is fresh, and for how many ms after that it may be served stale."""
        limits = key.read.limits
        ttl = self._ttl if limits.ttl is None else limits.ttl
        ttl = ttl if verdict.longest_ttl is None else min(ttl, verdict.longest_ttl)
        return ttl, int(limits.longest_stale(self._stale) * 1000)

    def _forgets(self) -> bool:
        """Whether Redis may lose what depends on a tag but keep the answer: by eviction, or on different masters."""
        nodes = self._topology.nodes()
        return len(nodes) != 1 or nodes[0].evicts

    def _without_events(self, node: Node) -> tuple[bytes, bytes]:
        """Since when events are missing, in ms of Redis' clock, and how long entries are fresh; empty if none are."""
        lost_ms = self.gap.lost_ms(node.now_ms())
        return (b"", b"") if lost_ms is None else (b"%d" % lost_ms, b"%d" % (self.gap.ttl * 1000))

    def _send_script(self, script: Script, key: bytes, grant: Grant, *arguments: bytes, batch: int = 1) -> Reply | None:
        node = self._topology.node_for(key)
        if node is None or node.run_id != grant.run_id:
            return None  # not the Redis process that granted the lease
        return send_script(node, script, key, *arguments, batch=batch)
