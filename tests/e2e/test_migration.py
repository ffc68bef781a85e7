"""What docs/migration.md says of a gateway's own cache in front of the proxy, with the reference gateway's client.

The reference gateway has no cache of its own. `GatewaysOwnCache` stands in for the one that docs/migration.md names:
an hour in Redis, and a subscriber that looks for `collection` in events that say `collection_name`.
"""

import logging
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
from redis.asyncio import Redis

from examples.gateway.media import MediaClient
from examples.media_service import server as media_service
from examples.media_service.settings import MediaSettings
from proxy.pb import media_pb2 as pb
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

USERS, READS = 10, 4
_log = logging.getLogger(__name__)


class Avatars(Protocol):
    """What answers the gateway's resolver."""

    async def avatar(self, user: int) -> str: ...


class NoCache:
    """The resolver as it is once the gateway's own cache is taken out."""

    def __init__(self, media: MediaClient) -> None:
        self._media = media

    async def avatar(self, user: int) -> str:
        files = await self._media.files("user", user, "avatars", 1, 1)
        return files.media[0].uuid if files.media else ""


class GatewaysOwnCache(NoCache):
    """In front of the media service or the proxy. Its subscriber finds no `collection`: no event removes anything."""

    def __init__(self, media: MediaClient, redis: "Redis") -> None:
        super().__init__(media)
        self._redis = redis

    async def avatar(self, user: int) -> str:
        if found := await self._redis.get(f"user:{user}:avatar"):
            return str(found)
        uuid = await super().avatar(user)
        await self._redis.set(f"user:{user}:avatar", uuid, ex=3600)
        return uuid

    async def gone(self, user: int) -> bool:
        return not await self._redis.exists(f"user:{user}:avatar")


async def upload(media: MediaClient, user: int) -> str:
    request = pb.UploadFileRequest(
        content=b"picture", file_name="a.jpg", mime_type="image/jpeg", size=7, model_type="user", model_id=user
    )
    request.collection_name = "avatars"
    return (await media.upload(request)).data.uuid


async def outdated(
    media: MediaClient, avatars: Avatars, written: Callable[[int], Awaitable[None]] | None = None
) -> int:
    """Of USERS * READS reads that began after the upload was answered, those that did not show its avatar."""
    wrong = 0
    for user in range(1, USERS + 1):
        await upload(media, user)
        await avatars.avatar(user)
        newest = await upload(media, user)
        if written is not None:
            await written(user)
        wrong += sum([await avatars.avatar(user) != newest for _ in range(READS)])
    return wrong


@pytest.fixture
async def amqp(rabbit: RabbitServer) -> str:
    return await rabbit.vhost()


@pytest.fixture
async def origin(amqp: str) -> AsyncIterator[str]:
    settings = MediaSettings(listen_addr="127.0.0.1:0", latency=0.02, rabbitmq_addr=(amqp,))
    async with media_service.running(settings) as media:
        await media.events.connected.wait()
        yield media.address


@asynccontextmanager
async def proxy_of(origin: str, redis: RedisServer, amqp: str, **settings: str) -> AsyncIterator[ProxyProcess]:
    given = {"MEDIA_SERVICE_ADDR": origin, "REDIS_ADDR": redis.addr, "RABBITMQ_ADDR": amqp, **settings}
    async with ProxyProcess(**given) as proxy:
        for dependency in ("redis", "rabbitmq"):
            sample = f'media_cache_dependency_up{{dependency="{dependency}"}}'

            async def up(sample: str = sample) -> bool:
                return await proxy.metric(sample) == 1

            await until(up, f"the proxy to find {dependency}")
        yield proxy


@asynccontextmanager
async def own_cache(media: MediaClient, redis: RedisServer) -> AsyncIterator[GatewaysOwnCache]:
    async with Redis.from_url(f"redis://{redis.addr.removeprefix('redis://')}", decode_responses=True) as client:
        yield GatewaysOwnCache(media, client)


async def test_the_gateways_own_cache_is_outdated_with_the_proxy_as_without_it(
    origin: str, redis: RedisServer, amqp: str
) -> None:
    async with MediaClient(origin) as media, own_cache(media, redis) as avatars:
        assert await outdated(media, avatars) == USERS * READS
    await redis.cli("FLUSHALL")
    async with proxy_of(origin, redis, amqp) as proxy, MediaClient(proxy.addr) as media:
        async with own_cache(media, redis) as avatars:
            assert await outdated(media, avatars) == USERS * READS


@pytest.mark.usefixtures("each_transport")
async def test_with_old_cache_keys_deleted_both_run_side_by_side_rightly(
    origin: str, redis: RedisServer, amqp: str
) -> None:
    async with proxy_of(origin, redis, amqp, OLD_CACHE_KEYS="delete") as proxy, MediaClient(proxy.addr) as media:
        async with own_cache(media, redis) as avatars:

            async def deleted(user: int) -> None:
                await until(lambda: avatars.gone(user), f"the old key of user {user} to go")

            assert await outdated(media, avatars, deleted) == 0


@pytest.mark.usefixtures("each_transport")
async def test_without_the_gateways_own_cache_nothing_is_outdated(origin: str, redis: RedisServer, amqp: str) -> None:
    async with proxy_of(origin, redis, amqp) as proxy, MediaClient(proxy.addr) as media:
        avatars = NoCache(media)
        assert await outdated(media, avatars) == 0
        async with own_cache(media, redis) as own, MediaClient(origin) as straight:
            for name, each in (("the proxy", avatars), ("its own cache", own), ("no cache", NoCache(straight))):
                _log.info("a read with %s takes %.2f ms", name, await _median(each) * 1000)


async def _median(avatars: Avatars, reads: int = 200) -> float:
    """Seconds that a read takes, for docs/migration.md: pytest -o log_cli=true -o log_cli_level=INFO shows it."""
    taken = []
    for _ in range(reads):
        begun = time.perf_counter()
        await avatars.avatar(1)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
