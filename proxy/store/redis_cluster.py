"""`Cluster`: one node per master; the slot map is read again when a reply or a lost node contradicts it."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as _SLOTS
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from proxy.reasons import in_words
from proxy.settings.setting_types import RedisTarget
from proxy.store.redis_connecting import CONNECTING, Listeners, Probing, once, options
from proxy.store.redis_mastership import Naming
from proxy.store.redis_node import Node
from proxy.store.redis_race import race_to, racing
from proxy.store.redis_tls import secure_cluster
from proxy.tls import Leg

_REFRESH_TIMEOUT = 0.5  # seconds, for each node that is asked for the map
_REFRESH_EVERY = 30.0
_REFRESH_EVERY_DOWN = 0.5  # while a node is away or a slot has no owner, because a new master does not announce itself
_REFRESH_PAUSE = 0.1
_GUEST = 30.0
"""Seconds for which a node without slots is kept after the last reply that said that keys are moving to it."""


class Cluster:
    """The topology of a Redis Cluster."""

    def __init__(
        self, target: RedisTarget, scripts: Sequence[bytes], told: Listeners, tls: Leg | None, probing: Probing | None
    ) -> None:
        self._target = target
        self._tls = tls
        self._scripts = scripts
        self._told = told
        self._probing = probing
        self._owners: dict[int, str] = {}
        self._nodes: dict[str, Node] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._guests: dict[str, float] = {}
        """Nodes that own no slots but to which keys are moving, and when a reply last said so."""
        self._like: ClusterNode | None = None
        self._stale = asyncio.Event()
        self._up = True

    def node_for(self, key: bytes) -> Node | None:
        return self._nodes.get(self._owners.get(key_slot(key), ""))

    def nodes(self) -> Sequence[Node]:
        return tuple(self._nodes.values())

    def redirected(self, error: AskError, by: Node) -> Node | None:
        # An empty host means the node that replied (`cluster-preferred-endpoint-type unknown-endpoint`).
        name = f"{error.host or by.name.rpartition(':')[0]}:{error.port}"
        if isinstance(error, MovedError):
            if name in self._nodes:
                self._owners[error.slot_id] = name
            self._stale.set()
        elif name in self._guests or name not in self._nodes:
            self._invite(name)
        return self._nodes.get(name)

    def _invite(self, name: str) -> None:
        """Adds a node that joined to take over slots; no map shows it before its first slot has moved completely."""
        self._guests[name] = time.monotonic()
        if name not in self._nodes and self._like is not None:
            host, _, port = name.rpartition(":")
            self._start(name, _maker(self._like, host=host, port=int(port)), probed=False)

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
        """Adopts the slot map of the first node that returns one, in random order because one of them may be frozen."""
        known = [(host, int(port)) for host, _, port in (name.rpartition(":") for name in self._nodes)]
        seeds = list(dict.fromkeys((*self._target.nodes, *known)))
        reason = ""
        for seed in random.sample(seeds, len(seeds)):
            try:
                slots = await self._slots(seed)
            except Exception as error:  # noqa: BLE001 -- redis-py raises errors of any type for a malformed map
                reason = in_words(error)
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
        asked = tuple(manager.startup_nodes.values())  # they hold the connection, and the manager may replace them
        try:
            async with asyncio.timeout(_REFRESH_TIMEOUT):
                await manager.initialize()
            return dict(manager.slots_cache)
        finally:
            await _disconnected(asked)

    async def _adopt(self, slots: dict[int, list[ClusterNode]]) -> None:
        masters = {f"{nodes[0].host}:{nodes[0].port}": nodes[0] for nodes in slots.values()}
        self._like = next(iter(masters.values()))
        now = time.monotonic()
        await self._end([name for name in self._guests if name in masters])  # started again below, with a probe
        self._guests = {name: at for name, at in self._guests.items() if name not in masters and now - at < _GUEST}
        for name, master in masters.items():
            if name not in self._nodes:
                self._start(name, _maker(master))
        self._owners = {slot: f"{nodes[0].host}:{nodes[0].port}" for slot, nodes in slots.items()}
        await self._end([name for name in self._nodes if name not in masters and name not in self._guests])

    def _start(self, name: str, make: Callable[[], AbstractConnection], *, probed: bool = True) -> None:
        probing = self._probing if probed else None
        node = self._nodes[name] = Node(
            make,
            self._scripts,
            self._node_changed,
            name=name,
            naming=Naming(by_map=True),
            renewed=self._told.renewed,
            probe=None if probing is None else probing(lambda key: self._owners.get(key_slot(key)) == name),
        )
        self._tasks[name] = asyncio.create_task(node.run())

    async def _end(self, names: Iterable[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for name in [name for name in self._nodes if name not in self._tasks]:
            del self._nodes[name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _node_changed(self, up: bool, reason: str) -> None:
        if not up:
            self._stale.set()
        if not up or all(node.usable for node in self._nodes.values()):
            self._tell(up, reason)

    def _tell(self, up: bool, reason: str) -> None:
        """The cluster is up while all of its masters are."""
        if up is not self._up or up:
            self._up = up
            self._told.changed(up, reason)

    def _client(self, seed: tuple[str, int]) -> RedisCluster:
        settings, tls = options(self._target)
        cluster = RedisCluster(
            startup_nodes=[ClusterNode(*seed)],
            ssl=tls,
            retry=once(),
            require_full_coverage=False,
            address_remap=lambda told: (told[0] or seed[0], told[1]),  # an empty host means the node that replied
            **settings,
            **CONNECTING,
        )
        if self._tls is not None:
            secure_cluster(cluster, self._tls)
        for node in cluster.nodes_manager.startup_nodes.values():
            race_to(node)
        return cluster


async def _disconnected(nodes: Iterable[ClusterNode]) -> None:
    """Closes their connections. If it is cancelled meanwhile, the cancellation is raised once they are closed."""
    closing = asyncio.gather(*(node.disconnect() for node in nodes), return_exceptions=True)
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise


def _maker(like: ClusterNode, **elsewhere: str | int) -> Callable[[], AbstractConnection]:
    connection_class, options = racing(like.connection_class), {**like.connection_kwargs, **elsewhere}
    return lambda: connection_class(**options)
