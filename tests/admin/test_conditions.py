"""What the parts of a process say about how they are reaches operators: nothing is well while something is wrong."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.services import media_policy_in


def verdict(proxy: ProxyProcess) -> Any:
    with urlopen(f"http://127.0.0.1:{proxy.admin_port}/stats", timeout=30) as answer:
        return json.load(answer)["verdict"]


async def test_a_setting_that_was_wrong_is_no_redis_that_nobody_wanted(upstream: FakeMediaServer) -> None:
    settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "REDIS_ADDR": "redis:port", "ON_BAD_SETTINGS": "forward"}
    async with ProxyProcess(**settings) as proxy:
        told = verdict(proxy)
        assert told["state"] == "wrong"
        [reason] = told["reasons"]
        assert reason.startswith("A setting is wrong, so nothing is cached: REDIS_ADDR: ")


async def test_a_changed_policy_with_a_mistake_is_wrong_until_it_is_corrected(
    redis: RedisServer, upstream: FakeMediaServer, tmp_path: Path
) -> None:
    file = Path(media_policy_in(tmp_path, "ttl: 1m"))
    good = await asyncio.to_thread(file.read_text)
    settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "REDIS_ADDR": redis.addr, "POLICY": str(file)}
    async with ProxyProcess(**settings) as proxy:
        await until(lambda: verdict(proxy)["state"] == "well", "all to be well")
        await asyncio.to_thread(file.write_text, good.replace("ttl", "tlt"))
        await until(lambda: verdict(proxy)["state"] == "wrong", "the mistake to be told")
        [reason] = verdict(proxy)["reasons"]
        assert "the previous one stays in effect: " in reason
        assert "unknown key 'tlt'; did you mean 'ttl'?" in reason
        await asyncio.to_thread(file.write_text, good)
        await until(lambda: verdict(proxy)["state"] == "well", "all to be well again")
