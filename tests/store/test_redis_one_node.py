"""The topology of a single server, or of the master that Sentinels name."""

from tests.support.redis_parts import storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import SentinelSet


async def test_the_master_that_sentinels_name_is_believed_sooner() -> None:
    async with SentinelSet() as sentinels, storing(sentinels.addr) as store:
        (node,) = store._topology.nodes()
        assert node.naming.settling == 5.0


async def test_a_master_without_sentinels_takes_longer(redis: RedisServer) -> None:
    async with storing(redis.addr) as store:
        (node,) = store._topology.nodes()
        assert node.naming.settling == 10.0
