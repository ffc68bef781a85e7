"""A Cluster that names no hosts, or is written as one server; `test_redis_topology_cluster` has the rest."""

from redis.exceptions import MovedError

from tests.redis_parts import body_of, cached, ready, request_key, storing
from tests.servers.redis_sets import RedisCluster
from tests.servers.waiting import until

KEYS = [request_key(number) for number in range(12)]


async def test_no_host_means_the_one_that_was_asked() -> None:
    """Else it would be localhost, which is the proxy's own. 127.0.0.2 is not what `localhost` means."""
    config = ("cluster-preferred-endpoint-type unknown-endpoint", "bind 127.0.0.1 127.0.0.2")
    async with RedisCluster(*config) as cluster:
        async with storing(cluster.addr.replace("127.0.0.1", "127.0.0.2")) as store:
            for key in KEYS:
                await cached(store, key)
            assert {node.name.partition(":")[0] for node in store._topology.nodes()} == {"127.0.0.2"}


async def test_a_redirection_without_a_host_means_the_one_that_answered() -> None:
    async with (
        RedisCluster("cluster-preferred-endpoint-type unknown-endpoint") as cluster,
        storing(cluster.addr) as store,
    ):
        topology = store._topology
        topology._owners = dict.fromkeys(range(16384), topology.nodes()[0].name)  # type: ignore[attr-defined]
        for key in KEYS:
            await cached(store, key)
            assert await body_of(store, key) == b"body"


async def test_one_of_several_masters_is_no_single_server_and_says_how_to_write_it() -> None:
    async with RedisCluster() as cluster, storing(cluster.servers[0].addr, up=False) as store:
        await until(lambda: "write redis+cluster://" in store.trouble, "the reason")
        assert not store.usable(KEYS[0].hash_key)


async def test_one_that_has_grown_is_no_single_server_any_more() -> None:
    async with RedisCluster(masters=1) as cluster, storing(cluster.servers[0].addr) as store:
        (node,) = store._topology.nodes()
        assert store._topology.redirected(MovedError("1 127.0.0.1:1"), node) is None
        assert "write redis+cluster://" in node.trouble
        await ready(store)  # looked at anew, it has not grown
