"""A server is asked to invalidate a key that is reserved for this; nothing is left behind."""

import pytest

from proxy.errors import RedisRefusedError
from proxy.store.redis_store import probing
from proxy.store.write_probe import WriteProbe
from tests.support.redis_parts import KEYS, linked, maker
from tests.support.servers.redis import RedisServer


def _probe() -> WriteProbe:
    return probing(KEYS)(lambda key: True)


async def _asked(server: RedisServer) -> list[object]:
    async with linked(maker(server.port)) as watched:
        link = watched.link
        return [await link.request(*each) for each in _probe().commands(link.run_id, known=False)]


async def test_it_leaves_nothing_behind(redis: RedisServer) -> None:
    await _asked(redis)
    assert await redis.cli("DBSIZE") == 0


async def test_a_full_server_takes_invalidations(own_redis: RedisServer) -> None:
    await own_redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
    assert await _asked(own_redis) == [0, 0]


async def test_one_that_refuses_writes_says_so(own_redis: RedisServer) -> None:
    await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(RedisRefusedError, match="NOREPLICAS"):
        await _asked(own_redis)


def test_its_key_is_the_servers() -> None:
    owned = b"media:probe:{3}"
    probe = probing(KEYS)(lambda key: key == owned)
    assert {command[3] for command in probe.commands(b"run")} == {owned}
    owned = b"media:probe:{2}"  # a slot has moved
    assert {command[3] for command in probe.commands(b"run")} == {owned}


def test_a_server_that_owns_no_slot_is_not_asked() -> None:
    assert probing(KEYS)(lambda key: False).commands(b"run") == ()
