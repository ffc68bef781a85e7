"""Scripts that are called by their SHA-1, and commands that nobody waits for."""

from proxy.store.redis_scripts import Script, send, send_script
from tests.support.redis_parts import maker, noded
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

RELEASE = Script("release")
_LEASE = {"l1": b"run token 1 2"}


async def test_redis_gives_it_the_same_name(redis: RedisServer) -> None:
    assert await redis.cli("SCRIPT", "LOAD", RELEASE.source) == RELEASE.sha


async def test_one_that_redis_forgot_is_sent_whole(redis: RedisServer) -> None:
    await redis.cli("HSET", "key", "l1", _LEASE["l1"])
    async with noded(maker(redis.port)) as (node, _):
        assert send_script(node, RELEASE, b"key", b"1", b"run", b"token") is not None

        async def released() -> bool:
            return not await redis.cli("EXISTS", "key")

        await until(released, "the lease to be released")


async def test_what_cannot_be_sent_is_not(own_redis: RedisServer) -> None:
    own_redis.kill()
    async with noded(maker(own_redis.port), up=False) as (node, told):
        await until(lambda: told.changes)
        assert send(node, b"ECHO", b"x") is None
        assert send_script(node, RELEASE, b"key") is None
    assert send(None, b"ECHO", b"x") is None
