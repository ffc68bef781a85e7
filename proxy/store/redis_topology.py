"""`Topology`: which `Node` holds a key: one server, a Sentinel's present master, or a Cluster's owner of the slot.

How to find and reach servers is redis-py's knowledge: its URL parser, its Sentinel connection, its Cluster slot map.
Here are only the nodes made from it, and their tasks.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as _SLOTS
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from proxy.reasons import in_words
from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_node import Node
from proxy.store.redis_tls import secure_cluster, secure_pool, secure_sentinels
from proxy.tls import Leg

log = logging.getLogger(__name__)

Changed = Callable[[bool, str], None]
_CONNECTING: dict[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": 1.0,
    "socket_keepalive": True,
    # Our links have deadlines of their own; redis-py would enforce this one with Python 3.11's asyncio.wait_for, which
    # loses a cancellation that arrives together with the result.
    "socket_timeout": None,
}
_SENTINEL_TIMEOUT = (
    0.2  # to connect to one, and for its answer: several may be away, and the connect as a whole has 1 s
)
_REFRESH_TIMEOUT = 0.5  # for each node that is asked for the map
_REFRESH_EVERY = 30.0
_REFRESH_EVERY_DOWN = 0.5  # while a node is away or a slot is nobody's: a successor announces itself to nobody
_REFRESH_PAUSE = 0.1


class Topology(Protocol):
    """Finds nodes; `run` keeps them connected until cancelled."""

    def node_for(self, key: bytes) -> Node | None:
        """The node that holds a key; None while that is not known."""

    def nodes(self) -> Sequence[Node]:
        """All masters known now."""

    def redirected(self, error: AskError) -> Node | None:
        """The node that a MOVED or ASK names; a MOVED also has the map read anew. None when it is not known yet."""

    async def run(self) -> None:
        """Connects and reconnects until cancelled."""


class OneNode:
    """A single server, or the master that Sentinels name: asked anew at every connect."""

    def __init__(self, target: RedisTarget, scripts: Sequence[bytes], changed: Changed, tls: Leg | None) -> None:
        self._sentinels = _sentinels(target) if target.kind == "sentinel" else None
        pool = _single_pool(target) if self._sentinels is None else _sentinel_pool(target, self._sentinels)
        if tls is not None:
            secure_pool(pool, tls)
            if self._sentinels is not None:
                secure_sentinels(self._sentinels, tls)
        self._node = Node(pool.make_connection, scripts, changed)

    def node_for(self, key: bytes) -> Node | None:
        return self._node

    def nodes(self) -> Sequence[Node]:
        return (self._node,)

    def redirected(self, error: AskError) -> Node | None:
        return None

    async def run(self) -> None:
        try:
            await self._node.run()
        finally:
            for client in self._sentinels.sentinels if self._sentinels is not None else ():
                await client.aclose()


class Cluster:
    """A Redis Cluster: one node for each master, the slot map read again when a reply or a lost node contradicts it."""

    def __init__(self, target: RedisTarget, scripts: Sequence[bytes], changed: Changed, tls: Leg | None) -> None:
        self._target = target
        self._tls = tls
        self._scripts = scripts
        self._changed = changed
        self._owners: dict[int, str] = {}
        self._nodes: dict[str, Node] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stale = asyncio.Event()
        self._up = True

    def node_for(self, key: bytes) -> Node | None:
        return self._nodes.get(self._owners.get(key_slot(key), ""))

    def nodes(self) -> Sequence[Node]:
        return tuple(self._nodes.values())

    def redirected(self, error: AskError) -> Node | None:
        name = f"{error.host}:{error.port}"
        if isinstance(error, MovedError):
            if name in self._nodes:
                self._owners[error.slot_id] = name
            self._stale.set()
        return self._nodes.get(name)

    async def run(self) -> None:
        try:
            while True:
                self._stale.clear()
                await self._refresh()
                try:
                    whole = len(self._owners) == _SLOTS and all(node.usable for node in self._nodes.values())
                    async with asyncio.timeout(_REFRESH_EVERY if whole else _REFRESH_EVERY_DOWN):
                        await self._stale.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(_REFRESH_PAUSE)  # one refresh answers a burst of redirections
        finally:
            await self._end(list(self._tasks))

    async def _refresh(self) -> None:
        """Takes the slot map of the first node that tells one, in no fixed order: one of them may be frozen."""
        known = [(host, int(port)) for host, _, port in (name.rpartition(":") for name in self._nodes)]
        seeds = list(dict.fromkeys((*self._target.nodes, *known)))
        reason = ""
        for seed in random.sample(seeds, len(seeds)):
            try:
                slots = await self._slots(seed)
            except Exception as error:  # noqa: BLE001 -- redis-py raises whatever it trips over in a map that is none
                reason = in_words(error) or "no answer"
                continue
            if slots:
                await self._adopt(slots)
                return
            reason = "no slot is assigned"
        self._tell(False, f"the cluster's slot map cannot be read: {reason}")
        self._stale.set()

    async def _slots(self, seed: tuple[str, int]) -> dict[int, list[ClusterNode]]:
        """The slot map as one node sees it."""
        manager = self._client(seed).nodes_manager
        asked = tuple(manager.startup_nodes.values())  # whose connection it is; it may replace them by what it finds
        try:
            async with asyncio.timeout(_REFRESH_TIMEOUT):
                await manager.initialize()
            return dict(manager.slots_cache)
        finally:
            await _disconnected(asked)

    async def _adopt(self, slots: dict[int, list[ClusterNode]]) -> None:
        masters = {f"{nodes[0].host}:{nodes[0].port}": nodes[0] for nodes in slots.values()}
        for name, master in masters.items():
            if name not in self._nodes:
                node = Node(_maker(master), self._scripts, self._node_changed, name=name)
                self._nodes[name] = node
                self._tasks[name] = asyncio.create_task(node.run())
        self._owners = {slot: f"{nodes[0].host}:{nodes[0].port}" for slot, nodes in slots.items()}
        await self._end([name for name in self._nodes if name not in masters])

    async def _end(self, names: Iterable[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for name in [name for name in self._nodes if name not in self._tasks]:
            del self._nodes[name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _node_changed(self, up: bool, reason: str) -> None:
        if not up:
            self._stale.set()
        self._tell(all(node.usable for node in self._nodes.values()), reason)

    def _tell(self, up: bool, reason: str) -> None:
        """The cluster is up while all of its masters are."""
        if up is not self._up or up:
            self._up = up
            self._changed(up, reason)

    def _client(self, seed: tuple[str, int]) -> RedisCluster:
        options, tls = _options(self._target)
        cluster = RedisCluster(
            startup_nodes=[ClusterNode(*seed)],
            ssl=tls,
            retry=Retry(NoBackoff(), 0),
            require_full_coverage=False,
            **options,
            **_CONNECTING,
        )
        if self._tls is not None:
            secure_cluster(cluster, self._tls)
        return cluster


def topology(target: RedisTarget, scripts: Sequence[bytes], changed: Changed, tls: Leg | None = None) -> Topology:
    """The topology for a `REDIS_ADDR`. `changed` hears when Redis as a whole becomes usable and unusable. Without
    `tls` a rediss address' own options hold.
    """
    return (Cluster if target.kind == "cluster" else OneNode)(target, scripts, changed, tls)


def _single_pool(target: RedisTarget) -> ConnectionPool:
    return ConnectionPool.from_url(target.url, retry=Retry(NoBackoff(), 0), **_CONNECTING)


def _sentinels(target: RedisTarget) -> Sentinel:
    """Who is asked for the master: without credentials, which are the master's, but with the URL's TLS options."""
    options, tls = _options(target)
    asking = {name: value for name, value in options.items() if name.startswith("ssl_")}
    asking |= {**_CONNECTING, "retry": Retry(NoBackoff(), 0), "ssl": tls}
    asking |= {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
    return Sentinel(target.nodes, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]


def _sentinel_pool(target: RedisTarget, sentinels: Sentinel) -> ConnectionPool:
    options, tls = _options(target)
    options |= {**_CONNECTING, "retry": Retry(NoBackoff(), 0)}
    return SentinelConnectionPool(target.master, sentinels, ssl=tls, **options)  # type: ignore[no-untyped-call]


def _options(target: RedisTarget) -> tuple[dict[str, Any], bool]:
    """What the URL says beside the place: credentials, database, TLS options; and whether it asks for TLS."""
    options: dict[str, Any] = dict(parse_url(target.url))
    tls = options.pop("connection_class", None) is not None
    return {key: value for key, value in options.items() if key not in {"host", "port"}}, tls


async def _disconnected(nodes: Iterable[ClusterNode]) -> None:
    """Closes their connections, also when cancelled meanwhile: then once they are closed."""
    closing = asyncio.gather(*(node.disconnect() for node in nodes), return_exceptions=True)
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise


def _maker(master: ClusterNode) -> Callable[[], AbstractConnection]:
    return lambda: master.connection_class(**master.connection_kwargs)
