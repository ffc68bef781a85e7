"""A Redis Cluster: every script runs where its key is, while slots move, nodes die and successors take over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.crc import key_slot

from proxy.calls.keys import RequestKey
from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_connecting import Listeners
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from proxy.store.redis_topology import topology
from tests.support.media_methods import verdict
from tests.support.redis_parts import body_of, cached, filled, leased, ready, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.streams import StreamServer
from tests.support.servers.waiting import until

SHARE = 16384 // 3 + 1


def _user(key: RequestKey) -> Model:
    return Model(key.tag)


def _keys_of(node: int, count: int) -> list[RequestKey]:
    """Keys whose slots belong to this node at the start."""
    keys = (request_key(number) for number in range(10_000))
    return [key for key in keys if key_slot(key.hash_key) // SHARE == node][:count]


async def _id(server: RedisServer) -> bytes:
    return bytes(await server.cli("CLUSTER", "MYID"))


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster("cluster-require-full-coverage no")
    try:
        with asyncio.Runner() as runner:
            runner.run(cluster.start())
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
async def cluster(module_cluster: RedisCluster) -> RedisCluster:
    """An empty Cluster for all tests that kill no node; each moves other slots."""
    for server in module_cluster.servers:
        await server.cli("FLUSHALL")
    return module_cluster


def _hear(store: RedisStore, changed: Callable[[bool, str], None]) -> None:
    store._topology._told = Listeners(changed)  # type: ignore[attr-defined]


@asynccontextmanager
async def _moving(key: RequestKey, source: RedisServer, target: RedisServer) -> AsyncIterator[None]:
    """The key's slot is moving from one node to the other; the key itself has already moved."""
    slot = key_slot(key.hash_key)
    await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", await _id(source))
    await source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", await _id(target))
    await source.cli("MIGRATE", "127.0.0.1", target.port, key.hash_key, 0, 5000)
    yield


async def _moved(key: RequestKey, cluster: RedisCluster, target: RedisServer) -> None:
    """Completes the move of the key's slot."""
    for server in (target, *cluster.servers):
        await server.cli("CLUSTER", "SETSLOT", key_slot(key.hash_key), "NODE", await _id(target))


class TestKeys:
    async def test_every_script_works_wherever_its_key_is(self, cluster: RedisCluster) -> None:
        keys = [request_key(number) for number in range(100)]
        async with storing(cluster.addr) as store:
            for key in keys:
                meta = verdict(aliases=(f"alias of {key.tag}",))
                assert await filled(store, key, await leased(store, key), meta=meta)
            assert all([await server.cli("DBSIZE") > 30 for server in cluster.servers])
            for key in keys:
                assert await body_of(store, key) == b"body"
                assert await store.tag_of("media.MediaService", f"alias of {key.tag}", Budget(5)) == _user(key)
            for key in keys[:50]:
                await store.invalidate(_user(key), timeout=5)
                assert await body_of(store, key) is None
            store.release(keys[0], await leased(store, keys[0]))
            await leased(store, keys[0])
            assert await store.flush() == 51
            assert [await body_of(store, key) for key in keys] == [None] * 100
            for key in keys[:5]:
                await cached(store, key, b"new")
                assert await body_of(store, key) == b"new"


class TestResharding:
    async def test_a_slot_that_moves_is_followed_at_each_stage(self, cluster: RedisCluster) -> None:
        async with storing(cluster.addr) as store:
            source, target, _ = cluster.servers
            key = _keys_of(0, 1)[0]
            await cached(store, key)
            async with _moving(key, source, target):
                assert await body_of(store, key) is None  # a miss, not an error
                assert (await store.acquire(key, Budget(5))).kind == "lease"  # by ASK, where the key is now
                assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 1
                await store.invalidate(_user(key), timeout=5)
                assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 0
                await store.acquire(key, Budget(5))
                assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 1
                assert await store.flush() == 1  # keys of a moving slot are flushed too
                assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 0
            await _moved(key, cluster, target)
            grant = await store.acquire(key, Budget(5))  # by MOVED
            (owner,) = (node for node in store._topology.nodes() if node.name == target.addr)
            assert (grant.kind, grant.run_id) == ("lease", owner.run_id)
            assert await filled(store, key, grant)
            assert await body_of(store, key) == b"body"

    async def test_a_key_that_goes_in_the_middle_of_a_script_goes_on_where_its_slot_moves(
        self, cluster: RedisCluster
    ) -> None:
        """The slot is moving and the key is still here: deleting all its fields deletes the key."""
        async with storing(cluster.addr) as store:
            _, source, target = cluster.servers
            key = _keys_of(1, 1)[0]
            slot = key_slot(key.hash_key)
            await cached(store, key)
            await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", await _id(source))
            await source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", await _id(target))
            told: list[bool] = []
            _hear(store, lambda up, reason: told.append(up))
            await store.invalidate(_user(key), timeout=5, intent=b"a", intent_ms=30_000)
            assert await source.cli("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
            assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
            assert False not in told  # the node is well
            await _moved(key, cluster, target)
            assert (await store.acquire(key, Budget(5))).kind == "closed"

    async def test_an_invalidation_follows_a_move_that_nobody_told_of(self, cluster: RedisCluster) -> None:
        async with storing(cluster.addr) as store, storing(cluster.addr) as other:
            source, target, _ = cluster.servers
            key = _keys_of(0, 2)[1]
            async with _moving(key, source, target):
                await _moved(key, cluster, target)
            assert (await other.acquire(key, Budget(5))).kind == "lease"
            await cached(other, request_key(Model(key.tag).id, page=2))
            await store.invalidate(_user(key), timeout=5)
            assert await body_of(other, request_key(Model(key.tag).id, page=2)) is None

    async def test_a_slot_that_moves_to_a_node_that_has_just_joined(self) -> None:
        """A node without slots is in no map; keys that move there would be unreachable until a whole slot has moved."""
        async with RedisCluster() as cluster, RedisServer("cluster-enabled yes") as joined:
            source = cluster.servers[0]
            await source.cli("CLUSTER", "MEET", "127.0.0.1", joined.port)

            async def known() -> bool:
                state = await joined.cli("CLUSTER", "INFO")
                return b"cluster_known_nodes:4" in state and b"cluster_state:ok" in state

            await until(known, "the new node to have joined")
            async with storing(cluster.addr) as store:
                key = _keys_of(0, 1)[0]
                await cached(store, key)
                async with _moving(key, source, joined):

                    async def invalidated() -> bool:
                        try:
                            await store.invalidate(_user(key), timeout=5)
                        except RedisUnavailableError:
                            return False
                        return True

                    await until(invalidated, "an invalidation where the key is now")
                    await leased(store, key)
                    assert await store.flush() == 1
                await _moved(key, cluster, joined)
                await until(invalidated, "an invalidation by the new map")
                (owner,) = [node for node in store.topology.nodes() if node.name == joined.addr]
                await until(lambda: owner.usable)
                await cached(store, key, b"new")
                assert await body_of(store, key) == b"new"


class TestNodes:
    async def test_one_that_dies_takes_only_its_own_keys_along_and_comes_back(self) -> None:
        async with RedisCluster("cluster-require-full-coverage no") as cluster, storing(cluster.addr) as store:
            (lost,), (kept,) = _keys_of(0, 1), _keys_of(1, 1)
            await cached(store, kept)
            cluster.servers[0].kill()
            await until(lambda: not store.usable(lost.hash_key))
            assert await body_of(store, kept) == b"body"
            with pytest.raises(RedisUnavailableError):
                await store.invalidate(_user(lost), timeout=0.05)
            with pytest.raises(RedisUnavailableError):
                await store.flush()
            await cluster.servers[0].start()
            await until(lambda: store.usable(lost.hash_key), "the node to be back", timeout=5)
            await ready(store)

    async def test_a_cluster_that_is_down_is_spared(self) -> None:
        """Its nodes answer, but serve no key while one is missing. No call may spend time on finding that out."""
        async with RedisCluster("cluster-node-timeout 500") as cluster, storing(cluster.addr) as store:
            (kept,) = _keys_of(1, 1)
            cluster.servers[0].kill()

            async def down() -> bool:
                return b"cluster_state:fail" in await cluster.servers[1].cli("CLUSTER", "INFO")

            await until(down, "the cluster to be down")
            with pytest.raises(RedisUnavailableError):
                await store.acquire(kept, Budget())
            assert not store.usable(kept.hash_key)
            await cluster.servers[0].start()
            await ready(store, timeout=15)
            assert store._topology.nodes()[0].min_born_ms() > 0
            await cached(store, kept)

    async def test_a_successor_is_found_though_nobody_is_sent_to_it(self) -> None:
        quick = "cluster-node-timeout 500"
        replica = RedisServer("cluster-enabled yes", quick)
        async with (
            RedisCluster("cluster-require-full-coverage no", quick) as cluster,
            replica,
            storing(cluster.addr) as store,
        ):
            master, other, _ = cluster.servers
            (key,) = _keys_of(0, 1)
            await replica.cli("CLUSTER", "MEET", "127.0.0.1", other.port)
            master_id = await _id(master)

            async def known() -> bool:
                return b"0-5461" in await replica.cli("CLUSTER", "NODES")

            await until(known, "the replica to know who has which slots")
            await replica.cli("CLUSTER", "REPLICATE", master_id)

            async def in_sync() -> bool:
                return bool((await replica.info("replication")).get("master_link_status") == "up")

            await until(in_sync)
            await self._invalidated_on_its_way(store, other, master)
            await cached(store, key)
            master.kill()
            await until(lambda: not store.usable(key.hash_key))

            async def elected() -> bool:
                return bool((await replica.info("replication"))["role"] == "master")

            await until(elected, "the replica to be elected")
            await until(lambda: store.usable(key.hash_key), "the successor to be found", timeout=5)
            await ready(store)
            assert await body_of(store, key) is None
            await cached(store, key, b"new")
            assert await body_of(store, key) == b"new"

    async def _invalidated_on_its_way(self, store: RedisStore, source: RedisServer, target: RedisServer) -> None:
        """The target has a replica, so after the write it is asked whether it is still the master."""
        (key,) = _keys_of(1, 1)
        await cached(store, key)
        (node,) = [node for node in store._topology.nodes() if node.name.endswith(f":{target.port}")]
        await until(lambda: node._mastership._following.watched, "the node's replica to be known")
        async with _moving(key, source, target):
            assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 1
            await store.invalidate(_user(key), timeout=5)
            assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.hash_key)) == 0

    async def test_a_frozen_node_hides_the_map_from_nobody(self, cluster: RedisCluster) -> None:
        cluster.servers[0].freeze()
        try:
            (key,) = _keys_of(1, 1)
            for _ in range(4):  # nodes are asked in random order
                async with storing(cluster.addr, up=False) as store:
                    await until(lambda: store.usable(key.hash_key), "the others to be found", timeout=5)
        finally:
            cluster.servers[0].thaw()
        await cluster.ready()

    async def test_one_that_is_away_at_the_start_is_found_later(self) -> None:
        cluster = RedisCluster()
        try:
            async with storing(cluster.addr, up=False) as store:
                with pytest.raises(RedisUnavailableError):
                    await store.acquire(request_key(), Budget())
                await cluster.start()
                keys = [_keys_of(node, 1)[0] for node in range(3)]
                await until(lambda: all(store.usable(key.hash_key) for key in keys), timeout=5)
                for key in keys:
                    await cached(store, key)
        finally:
            cluster.remove()

    async def test_a_slot_that_was_nobodys_is_found_later(self) -> None:
        """Otherwise its keys would be uncached, and their invalidations held, until the next refresh after 30 s."""
        async with RedisCluster("cluster-require-full-coverage no") as cluster:
            lost, kept = _keys_of(0, 2)
            for server in cluster.servers:
                await server.cli("CLUSTER", "DELSLOTS", key_slot(lost.hash_key))
            async with storing(cluster.addr) as store:
                assert store.usable(kept.hash_key)
                assert not store.usable(lost.hash_key)
                await cluster.servers[0].cli("CLUSTER", "ADDSLOTS", key_slot(lost.hash_key))
                await until(lambda: store.usable(lost.hash_key), "the slot to be found", timeout=5)

    async def test_one_that_is_stopped_while_it_closes_a_connection_has_closed_it(
        self, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Connection] = []
        closing = asyncio.Event()
        acquire, disconnect = ClusterNode.acquire_connection, ClusterNode.disconnect

        def acquired(node: ClusterNode) -> Connection:
            asked.append(acquire(node))
            return asked[-1]

        async def disconnected(node: ClusterNode) -> None:
            closing.set()
            await asyncio.sleep(0)  # the turn of the loop in which it ends
            await disconnect(node)

        monkeypatch.setattr(ClusterNode, "acquire_connection", acquired)
        monkeypatch.setattr(ClusterNode, "disconnect", disconnected)
        target = RedisAddr().parse(cluster.addr)
        assert target is not None
        found = topology(target, (), Listeners(lambda up, reason: None))
        running = asyncio.create_task(found.run())
        await closing.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [connection.is_connected for connection in asked] == [False]

    async def test_a_map_that_is_none(self) -> None:
        """redis-py raises a TypeError for it, which must not end the connections that calls use."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(b"*1\r\n:5\r\n" * data.count(b"*"))
            writer.close()

        async with StreamServer(answer) as liar:
            changes: list[str] = []
            async with storing(f"redis+cluster://127.0.0.1:{liar.port}", up=False) as store:
                _hear(store, lambda up, reason: changes.append(reason))
                await until(lambda: changes, "a look at it")
            assert "slot map cannot be read" in changes[0]

    async def test_a_server_that_is_no_cluster(self, redis: RedisServer) -> None:
        changes: list[tuple[bool, str]] = []
        async with storing(f"redis+cluster://127.0.0.1:{redis.port}", up=False) as store:
            _hear(store, lambda up, reason: changes.append((up, reason)))
            await until(lambda: changes)
            assert "slot map cannot be read" in changes[0][1]
