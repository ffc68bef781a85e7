"""The Redis of a run: `Alone`, `Replicated` (an address that moves between two servers), `Watched` (by Sentinel),
`Clustered` (three masters).

The first two give each proxy its own address, through a `FaultyTcp`, so that a fault can hit one of them alone.
"""

import asyncio
from itertools import cycle
from typing import Self

from redis.exceptions import RedisError

from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import MASTER_NAME, RedisCluster, SentinelSet
from tests.support.servers.server import Startable
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

_SENTINELS, _REPLICAS = 3, 2
_DOWN_AFTER = 2500
"""Milliseconds after which Sentinels promote the replica; long enough that a pause of the machine is no failover."""


class Side(Startable):
    """What all have in common. `links` are the proxies' own TCP proxies in front of it, empty if there are none."""

    def __init__(self, proxies: int) -> None:
        self.links = [FaultyTcp(0) for _ in range(proxies)]

    def addr(self, proxy: int) -> str:
        """The REDIS_ADDR of one proxy."""
        return self.links[proxy].addr

    async def master(self) -> RedisServer:
        """The server that proxies should use now."""
        raise NotImplementedError

    async def whole(self) -> None:
        """Returns once all its servers work together again."""
        await (await self.master()).ready()

    async def __aexit__(self, *error: object) -> None:
        for link in self.links:
            await link.stop()
        self.remove()


class Alone(Side):
    """A single server."""

    def __init__(self, proxies: int) -> None:
        super().__init__(proxies)
        self._server = RedisServer()

    async def start(self) -> Self:
        await self._server.start()
        for link in self.links:
            link.target = ("127.0.0.1", self._server.port)
            await link.start()
        return self

    async def master(self) -> RedisServer:
        return self._server

    def remove(self) -> None:
        self._server.remove()


class Replicated(Side):
    """A master and its replica behind one address, which an operator moves from one to the other."""

    def __init__(self, proxies: int) -> None:
        super().__init__(proxies)
        self._master = RedisServer()
        self._replica = RedisServer(replica_of=self._master)

    async def start(self) -> Self:
        await self._master.start()
        await self._replica.start()
        await self.whole()
        for link in self.links:
            link.target = ("127.0.0.1", self._master.port)
            await link.start()
        return self

    async def master(self) -> RedisServer:
        return self._master

    async def whole(self) -> None:
        await self._master.ready()
        await until(lambda: _follows(self._replica, self._master), "the replica to be in sync", timeout=90)

    async def promote(self) -> RedisServer:
        """Promotes the replica, to which new connections lead then. Returns the old master, which keeps running."""
        old, self._master = self._master, self._replica
        self._replica = old
        await self._master.cli("REPLICAOF", "NO", "ONE")
        await self._master.cli("CONFIG", "REWRITE")  # otherwise it would be a replica again after it was killed
        for link in self.links:
            link.target = ("127.0.0.1", self._master.port)
        return old

    async def demote(self) -> None:
        """Makes the old master a replica of the new one."""
        await self._replica.cli("REPLICAOF", "127.0.0.1", self._master.port)
        await self._replica.cli("CONFIG", "REWRITE")
        await self.whole()

    def remove(self) -> None:
        self._master.remove()
        self._replica.remove()


class Watched(Side):
    """A master and two replicas, watched by three Sentinels, which tell each proxy where the master is."""

    def __init__(self, proxies: int) -> None:
        super().__init__(0)
        self.set = SentinelSet(sentinels=_SENTINELS, replicas=_REPLICAS)

    async def start(self) -> Self:
        await self.set.start()
        for sentinel in self.set.sentinels:
            await sentinel.cli("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", _DOWN_AFTER)
        return self

    def addr(self, proxy: int) -> str:
        return self.set.addr

    async def master(self) -> RedisServer:
        return (await self._roles())[0]

    async def whole(self) -> None:
        await until(self._together, "the Sentinels to see a master and its replicas in sync", timeout=90)

    async def failed_over(self, before: RedisServer) -> None:
        """Returns once the Sentinels name another master than this one."""

        async def done() -> bool:
            return await self.master() is not before

        await until(done, "another master", timeout=60)

    async def fail_over(self) -> None:
        """Orders a failover, as an operator would; returns once the Sentinels have accepted it."""

        async def ordered() -> bool:
            try:
                return bool(await self.set.sentinels[0].cli("SENTINEL", "FAILOVER", MASTER_NAME))
            except RedisError:  # one is in progress, or the replica is not known to be usable yet
                await asyncio.sleep(0.2)
                return False

        await until(ordered, "the Sentinels to begin a failover", timeout=60)

    async def _roles(self) -> tuple[RedisServer, list[RedisServer]]:
        """The master as the first Sentinel names it, and the others."""
        port, data = await self.set.master_port(), [self.set.master, *self.set.replicas]
        return next(each for each in data if each.port == port), [each for each in data if each.port != port]

    async def _together(self) -> bool:
        ports = {await self._named_by(sentinel) for sentinel in self.set.sentinels}
        master, others = await self._roles()
        if ports != {master.port} or not all([await _follows(other, master) for other in others]):
            return False
        seen = await self.set.sentinels[0].cli("SENTINEL", "REPLICAS", MASTER_NAME)
        return [replica[b"flags"] for replica in seen] == [b"slave"] * len(others)

    @staticmethod
    async def _named_by(sentinel: RedisServer) -> int:
        return int((await sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME))[1])

    def remove(self) -> None:
        self.set.remove()


class Clustered(Side):
    """A Cluster of three masters without replicas; faults hit one after another."""

    def __init__(self, proxies: int) -> None:
        super().__init__(0)
        self._set = RedisCluster()
        self._turns = cycle(self._set.servers)

    async def start(self) -> Self:
        await self._set.start()
        return self

    def addr(self, proxy: int) -> str:
        return self._set.addr

    async def master(self) -> RedisServer:
        return next(self._turns)

    async def whole(self) -> None:
        await self._set.ready()

    def remove(self) -> None:
        self._set.remove()


SIDES: dict[str, type[Side]] = {
    "alone": Alone,
    "replicated": Replicated,
    "sentinel": Watched,
    "cluster": Clustered,
}


async def _follows(replica: RedisServer, master: RedisServer) -> bool:
    try:
        info, own = await replica.info("replication"), await master.info("replication")
    except RedisError:
        return False
    return (
        own["role"] == "master"
        and info["role"] == "slave"
        and info.get("master_port") == master.port
        and info.get("master_link_status") == "up"
    )
