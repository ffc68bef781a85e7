"""Sentinels with their own password, with the master's, or with none; and the reasons why there is no master."""

import pytest
from redis.asyncio.sentinel import MasterNotFoundError

from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_sentinels import Sentinels, sentinels_of
from tests.support.redis_parts import cached, request_key, storing
from tests.support.servers.redis_sets import SentinelSet
from tests.support.servers.waiting import until

KEY = request_key()


async def _works(addr: str) -> None:
    async with storing(addr) as store:
        await cached(store, KEY)


def _found_by(addr: str) -> Sentinels:
    target = RedisAddr().parse(addr)
    assert target is not None
    return sentinels_of(target)


async def test_their_own() -> None:
    async with SentinelSet(sentinel_password="p&w") as sentinels:
        await _works(f"{sentinels.addr}?sentinel_password=p%26w")
        async with storing(sentinels.addr, up=False) as store:
            await until(lambda: "Authentication required" in store.trouble, "the reason")


async def test_their_own_as_a_setting() -> None:
    async with SentinelSet(sentinel_password="pw") as sentinels:
        settings = Settings(redis_addr=RedisAddr().parse(sentinels.addr), sentinel_password="pw")
        assert settings.redis is not None
        found = sentinels_of(settings.redis)
        assert await found.discover_master("media") == ("127.0.0.1", sentinels.master.port)
        await found.aclose()


async def test_the_masters() -> None:
    async with SentinelSet(password="pw", sentinel_password="pw") as sentinels:
        await _works(sentinels.addr.replace("redis+sentinel://", "redis+sentinel://:pw@"))


async def test_the_masters_that_they_do_not_ask_for() -> None:
    async with SentinelSet(password="pw") as sentinels:
        await _works(sentinels.addr.replace("redis+sentinel://", "redis+sentinel://:pw@"))


async def test_a_password_that_nobody_asks_for() -> None:
    async with SentinelSet() as sentinels:
        await _works(f"{sentinels.addr}?sentinel_password=pw")


async def test_what_each_of_them_said() -> None:
    async with SentinelSet() as sentinels:
        found = _found_by(sentinels.addr.replace("/media/0", "/other/0"))
        try:
            with pytest.raises(MasterNotFoundError, match="'other': Sentinel knows no 'other'"):
                await found.discover_master("other")
        finally:
            await found.aclose()


async def test_a_master_that_is_down() -> None:
    async with SentinelSet(sentinels=2) as sentinels:  # a single one of them cannot elect
        sentinels.sentinels[1].kill()
        sentinels.master.kill()
        found = _found_by(sentinels.addr)
        try:

            async def told() -> bool:
                try:
                    await found.discover_master("media")
                except MasterNotFoundError as error:
                    return "considers it down" in str(error)
                return False

            await until(told, "the Sentinel to notice")
        finally:
            await found.aclose()
