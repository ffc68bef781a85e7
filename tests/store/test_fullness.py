"""A full Redis is logged once, and again when it fills up again."""

import logging

import pytest

from proxy.errors import RedisRefusedError
from proxy.store.fullness import FULL, Fullness
from tests.support.redis_parts import cached, leased, request_key, storing
from tests.support.servers.redis import RedisServer

OOM = RedisRefusedError("command not allowed when used memory > 'maxmemory'.")


def test_one_line_until_a_minute_has_passed_without(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    fullness = Fullness(lambda: now)
    fullness.refused(RedisRefusedError("NOREPLICAS Not enough good replicas to write."))
    assert fullness.trouble == ""
    for now in (100.0, 130.0, 189.9):  # noqa: B007 -- the clock
        fullness.refused(OOM)
        assert fullness.trouble == FULL
    assert len(caplog.records) == 1
    now = 250.0
    assert fullness.trouble == ""
    fullness.refused(OOM)
    assert len(caplog.records) == 2


async def test_a_real_one_says_so_and_goes_on_serving(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "proxy.store.fullness")
    async with storing(own_redis.addr) as store:
        await cached(store, request_key(1))
        await own_redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        for number in (2, 3):
            with pytest.raises(Exception, match="maxmemory"):
                await leased(store, request_key(number))
        assert store.trouble == FULL
        assert store.any_usable()
        assert [record.getMessage() for record in caplog.records] == [FULL]
        await store.invalidate(request_key(1).tag, timeout=5)
