"""Sets of real Redis servers: `SentinelSet` (master, replica, Sentinels) and `RedisCluster` (three masters)."""

import asyncio
from functools import partial
from typing import Self

from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.servers.redis import RedisServer
from tests.support.servers.server import Startable
from tests.support.servers.waiting import until

MASTER_NAME = "media"


async def _start_all(*servers: RedisServer) -> None:
    for server in servers:
        server.child.spawn()
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.ready())


class _Set(Startable):
    """Servers that start and end together."""

    servers: list[RedisServer]

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


class SentinelSet(_Set):
    """A master, its replicas and `sentinels` Sentinels that declare it down after half a second, by majority."""

    def __init__(
        self,
        *config: str,
        sentinels: int = 1,
        replicas: int = 1,
        password: str | None = None,
        sentinel_password: str | None = None,
    ) -> None:
        self.master = RedisServer(*config, password=password)
        self.replicas = [RedisServer(*config, replica_of=self.master, password=password) for _ in range(replicas)]
        self.replica = self.replicas[0]
        watch = (
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.master.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {MASTER_NAME} 500",
            f"sentinel failover-timeout {MASTER_NAME} 3000",
            *([] if password is None else [f"sentinel auth-pass {MASTER_NAME} {password}"]),
        )
        self.sentinels = [RedisServer(*watch, sentinel=True, password=sentinel_password) for _ in range(sentinels)]
        self.servers = [self.master, *self.replicas, *self.sentinels]

    @property
    def addr(self) -> str:
        """The value for REDIS_ADDR: `redis+sentinel://…`."""
        where = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{where}/{MASTER_NAME}/0"

    async def start(self) -> Self:
        """Waits until the replicas are in sync, and every Sentinel knows them and its peers."""
        await _start_all(self.master, *self.replicas)
        await until(self._in_sync, "the replicas to be in sync")
        # Started only now, because a Sentinel learns of replicas from INFO at its start, and then not for 10 s.
        await _start_all(*self.sentinels)
        await until(self._all_known, "the Sentinels to know the replicas and each other")
        return self

    async def _in_sync(self) -> bool:
        return all([(await each.info("replication"))["master_link_status"] == "up" for each in self.replicas])

    async def _all_known(self) -> bool:
        for sentinel in self.sentinels:
            info = (await sentinel.info("sentinel"))["master0"]
            if int(info["slaves"]) != len(self.replicas) or int(info["sentinels"]) != len(self.sentinels):
                return False
        return True

    async def master_port(self) -> int:
        """The port of the master that the first Sentinel names now."""
        _, port = await self.sentinels[0].cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return int(port)

    async def failed_over(self) -> None:
        """Waits until the replica is the master, according to itself and to every Sentinel."""

        async def done() -> bool:
            try:
                if (await self.replica.info("replication"))["role"] != "master":
                    return False
                seen = [await each.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME) for each in self.sentinels]
            except RedisConnectionError:
                return False  # a promotion closes the connections of all clients
            return all(int(port) == self.replica.port for _, port in seen)

        await until(done, "the replica to be promoted")


class RedisCluster(_Set):
    """Three masters by default, with the slots split evenly among them; no replicas."""

    def __init__(self, *config: str, masters: int = 3) -> None:
        cluster = ("cluster-enabled yes", "cluster-node-timeout 2000")
        self.servers = [RedisServer(*cluster, *config) for _ in range(masters)]

    @property
    def addr(self) -> str:
        """The value for REDIS_ADDR: `redis+cluster://…`."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    async def start(self) -> Self:
        """Starts all nodes, splits the slots, and waits until every node reports the whole cluster as ok."""
        await _start_all(*self.servers)
        share = 16384 // len(self.servers) + 1
        for index, server in enumerate(self.servers):
            slots = range(index * share, min((index + 1) * share, 16384))
            await server.cli("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            await server.cli("CLUSTER", "ADDSLOTS", *slots)
        for server in self.servers[1:]:
            await self.servers[0].cli("CLUSTER", "MEET", "127.0.0.1", server.port)
        await self.ready()
        return self

    async def ready(self) -> None:
        """Waits until every node answers and reports the whole cluster as ok."""
        for server in self.servers:
            await until(partial(self._whole, server), f"{server.child.name} to see the cluster as ok")

    async def _whole(self, server: RedisServer) -> bool:
        state = (await server.cli("CLUSTER", "INFO")).split()
        # Without the requirement of full coverage, the state is ok even while slots are unassigned.
        whole = {b"cluster_state:ok", b"cluster_slots_assigned:16384"} <= set(state)
        return whole and f"cluster_known_nodes:{len(self.servers)}".encode() in state

    async def owner(self, key: str | bytes) -> RedisServer:
        """The node that serves a key's slot."""
        slot = int(await self.servers[0].cli("CLUSTER", "KEYSLOT", key))
        return self.servers[slot // (16384 // len(self.servers) + 1)]
