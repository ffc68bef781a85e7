"""CACHE_TTL_TEMPORARY_CREDENTIALS: an answer with a URL that dies with a session is kept for so long and no longer."""

from typing import Any

import pytest

from tests.support.calling import Gateway
from tests.support.in_process import Stack
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer

_LATER = "X-Amz-Date=20990101T000000Z&X-Amz-Expires=86400&X-Amz-Signature=ab"
_URL = f"https://files.example/a.jpg?{_LATER}&X-Amz-Security-Token=FwoGZXIvYXdzEB"


@pytest.mark.parametrize(("settings", "seconds"), [({}, 300), ({"cache_ttl_temporary_credentials": 60.0}, 60)])
async def test_it_ends_soon_and_stands_in_for_nobody_afterwards(
    redis: RedisServer, settings: dict[str, Any], seconds: int
) -> None:
    async with Stack(redis.addr) as stack:
        stack.media.add("user", 1, presigned_url=_URL)
        process = await stack.process(cache_stale_if_error=600.0, **settings)
        await process.read()
        found = await process.stored()
        assert found is not None
        assert found.entry.fresh_until_ms - found.entry.born_ms == seconds * 1000
        assert found.entry.stale_until_ms == found.entry.fresh_until_ms


@pytest.mark.usefixtures("each_transport")
async def test_none_is_kept_where_it_is_0(redis: RedisServer, upstream: FakeMediaServer) -> None:
    upstream.media.add("user", 1, presigned_url=_URL)
    settings = {"CACHE_TTL_TEMPORARY_CREDENTIALS": "0"}
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **settings) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert [await gateway.x_cache() for _ in range(2)] == ["miss", "miss"]


async def test_a_signature_without_an_end_is_never_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        stack.media.add("user", 1, presigned_url="https://files.example/a.jpg?Signature=ab")
        process = await stack.process()
        assert [await process.x_cache() for _ in range(2)] == ["miss", "miss"]
