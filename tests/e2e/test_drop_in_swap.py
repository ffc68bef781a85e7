"""The drop-in swap: the reference gateway's `MEDIA_SERVICE_ADDR` names the proxy, nothing else changes.

The user's own steps for testing the cache, with their commands and the log lines that they look for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.gateway import server as gateway
from examples.gateway.settings import GatewaySettings
from examples.media_service import server as media_service
from examples.media_service.settings import MediaSettings
from tests.examples.test_gateway_http import QUERY, UPLOAD, shell
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

ANY_PORT = "127.0.0.1:0"
FILES = """{
  user(id: "123") { id name email avatar { id uuid fileName mimeType size } }
  mediaByModel(modelType: "USER", modelId: "123", perPage: 10) { total page perPage media { id uuid modelType } }
  mediaURL(id: "1") { url }
}"""


@asynccontextmanager
async def gateway_to(target: str) -> AsyncIterator[str]:
    async with gateway.running(GatewaySettings(media_service_addr=target, gateway_addr=ANY_PORT)) as address:
        yield address


@pytest.fixture
async def amqp(rabbit: RabbitServer) -> str:
    return await rabbit.vhost()


@pytest.fixture
async def media(amqp: str) -> AsyncIterator[media_service.Running]:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, seed=True, rabbitmq_addr=(amqp,))
    async with media_service.running(settings) as media:
        await media.events.connected.wait()
        yield media


@pytest.fixture
async def proxy(media: media_service.Running, redis: RedisServer, amqp: str) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(
        MEDIA_SERVICE_ADDR=media.address, REDIS_ADDR=redis.addr, RABBITMQ_ADDR=amqp, LOG_LEVEL="debug"
    ) as proxy:
        for dependency in ("redis", "rabbitmq"):
            await connected(proxy, dependency)
        yield proxy


async def connected(proxy: ProxyProcess, dependency: str) -> None:
    metric = f'media_cache_dependency_up{{dependency="{dependency}"}} 1.0'

    async def is_up() -> bool:
        return metric in (await proxy.probe("/metrics"))[1]

    await until(is_up, f"the proxy to find {dependency}")


def count(proxy: ProxyProcess, message: str) -> int:
    return sum(f'"msg": "{message}"' in line for line in proxy.lines)


@pytest.mark.usefixtures("each_transport")
async def test_the_users_steps_for_testing_the_cache(proxy: ProxyProcess, tmp_path: Path) -> None:
    (tmp_path / "avatar.jpg").write_bytes(b"picture")
    async with gateway_to(proxy.addr) as address:
        first = await shell(QUERY, address, tmp_path)
        await until(lambda: count(proxy, "Cache miss for user avatar") == 1, "the miss in the log")
        second = await shell(QUERY, address, tmp_path)
        await until(lambda: count(proxy, "Cache hit for user avatar") == 1, "the hit in the log")

        uploaded = await shell(UPLOAD, address, tmp_path)
        await until(lambda: count(proxy, "Invalidated user avatar cache") > 0, "the invalidation in the log")
        third = await shell(QUERY, address, tmp_path)
        await until(lambda: count(proxy, "Cache miss for user avatar") == 2, "the second miss in the log")

    assert uploaded == {"data": {"uploadFile": {"success": True}}}
    assert first == second
    assert third["data"]["user"]["avatar"]["uuid"] != first["data"]["user"]["avatar"]["uuid"]


@pytest.mark.usefixtures("each_transport")
async def test_an_upload_past_the_proxy_is_seen_by_its_event(
    proxy: ProxyProcess, media: media_service.Running, tmp_path: Path
) -> None:
    (tmp_path / "avatar.jpg").write_bytes(b"picture")
    async with gateway_to(proxy.addr) as through, gateway_to(media.address) as past:
        before = await shell(QUERY, through, tmp_path)
        await shell(UPLOAD, past, tmp_path)
        after = await shell(QUERY, past, tmp_path)

        async def is_fresh() -> bool:
            answer: Any = await shell(QUERY, through, tmp_path)
            return bool(answer == after)

        await until(is_fresh, "the new avatar through the proxy")
    assert before != after


@pytest.mark.usefixtures("each_transport")
async def test_the_answers_are_those_of_the_media_service(proxy: ProxyProcess, media: media_service.Running) -> None:
    async with gateway_to(proxy.addr) as through, gateway_to(media.address) as past, aiohttp.ClientSession() as session:

        async def ask(address: str) -> Any:
            async with session.post(f"http://{address}/query", json={"query": FILES}) as response:
                data = (await response.json())["data"]
            data["mediaURL"]["url"] = data["mediaURL"]["url"].partition("?")[0]
            return data

        answers = [await ask(through)]

        async def is_hit() -> bool:
            answers.append(await ask(through))
            return count(proxy, "Cache hit for user avatar") > 0

        await until(is_hit, "a hit in the log")
        straight = await ask(past)

    assert answers == [straight] * len(answers)
    assert straight["user"]["avatar"]["size"] == 52428
