"""The Redis users that docs/operations.md gives: enough for all that the proxy does, and not a command more."""

import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest_asyncio

from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.support.calling import Gateway
from tests.support.media_methods import MediaKeys
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_DOCUMENT = (ROOT / "docs/operations.md").read_text()
# What the test itself and the replica ask of the server, and INFO counts too. AUTH and HELLO need no permission.
_OTHERS = {
    "acl|log",
    "acl|setuser",
    "append",
    "auth",
    "hello",
    "client|list",
    "config|resetstat",
    "ping",
    "psync",
    "replconf",
    "script|flush",
}


def _documented(ending: str) -> tuple[str, ...]:
    """The words of the `ACL SETUSER` line that grants this last of all, after the user's name."""
    (line,) = re.findall(rf"ACL SETUSER media-cache-proxy (.* {re.escape(ending)})$", _DOCUMENT, re.MULTILINE)
    return tuple(line.split())


_ONE_SERVER, _CLUSTER = _documented("+unlink"), _documented("+asking")


def _granted(words: tuple[str, ...]) -> set[str]:
    return {word[1:] for word in words if word.startswith("+")}


def _password(words: tuple[str, ...]) -> str:
    (password,) = (word[1:] for word in words if word.startswith(">"))
    return password


async def _permit(server: RedisServer, words: tuple[str, ...]) -> None:
    await server.cli("ACL", "SETUSER", "media-cache-proxy", *words)


async def _denied(server: RedisServer) -> list[str]:
    """What was refused, but for the library's name: redis-py tells it and does not mind (Redis 7.2 and newer)."""
    async with server.client() as client:
        log = await client.acl_log()
    return [str(entry["object"]) for entry in log if entry["object"] != "client|setinfo"]


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    async with FakeMediaServer() as server:
        for number in range(1, 10):
            server.media.add("User", number)
        yield server


async def _used(server: RedisServer) -> set[str]:
    """Commands that ran since CONFIG RESETSTAT; this INFO is counted only after its reply was made."""
    return {name.removeprefix("cmdstat_") for name in await server.info("commandstats")} - _OTHERS


async def test_the_documented_user_can_do_all_that_the_proxy_does_and_nothing_else(
    own_redis: RedisServer, upstream: FakeMediaServer
) -> None:
    await _permit(own_redis, _ONE_SERVER)
    async with RedisServer(replica_of=own_redis) as replica:

        async def in_sync() -> bool:
            return bool((await replica.info("replication"))["master_link_status"] == "up")

        await until(in_sync, "the replica to be in sync")
        await own_redis.cli("CONFIG", "RESETSTAT")
        addr = f"redis://media-cache-proxy:{_password(_ONE_SERVER)}@127.0.0.1:{own_redis.port}"
        async with (
            ProxyProcess(REDIS_ADDR=addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy,
            Gateway(proxy.addr) as gateway,
        ):
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            await own_redis.cli("SCRIPT", "FLUSH")
            assert await gateway.x_cache(2) == "miss"
            await gateway.hits(2)
            await _invalidate_what_is_no_hash(own_redis, gateway)
            await _delete_files_known_and_unknown(upstream, gateway, proxy)
            assert (await gateway.upload(4)).success
        async with own_redis.client(username="media-cache-proxy", password=_password(_ONE_SERVER)) as client:
            await client.hstrlen("media:model:x", "e")  # as after a value that was too large to arrive in time
        assert await _denied(own_redis) == []
        assert await _used(own_redis) == _granted(_ONE_SERVER)


async def _invalidate_what_is_no_hash(server: RedisServer, gateway: Gateway) -> None:
    key = MediaKeys("media", ()).of_tag(Model.of("User", 3))
    await server.cli("APPEND", key, "somebody else's")
    assert (await gateway.upload(3)).success
    assert await gateway.x_cache(3) == "miss"


async def _delete_files_known_and_unknown(upstream: FakeMediaServer, gateway: Gateway, proxy: ProxyProcess) -> None:
    """The first one's model is in the id index; the other's nobody can tell, so that all is flushed."""
    await gateway.stub.DeleteFile(pb.DeleteFileRequest(id=1))
    upstream.media.fail("GetFileByID", grpc.StatusCode.UNAVAILABLE)
    await gateway.stub.DeleteFile(pb.DeleteFileRequest(id=9))
    upstream.media.heal()
    await proxy.logged("the whole cache was flushed")


async def test_the_documented_user_of_a_cluster_can_do_all_that_the_proxy_does(upstream: FakeMediaServer) -> None:
    async with RedisCluster() as cluster:
        for server in cluster.servers:
            await _permit(server, _CLUSTER)
        user = f"redis+cluster://media-cache-proxy:{_password(_CLUSTER)}@"
        addr = cluster.addr.replace("redis+cluster://", user)
        async with (
            ProxyProcess(REDIS_ADDR=addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy,
            Gateway(proxy.addr) as gateway,
        ):
            await until(lambda: _up(proxy), "every master to be usable")
            for number in range(1, 10):
                assert await gateway.x_cache(number) == "miss"
                await gateway.hits(number)
                assert (await gateway.upload(number)).success
                assert await gateway.x_cache(number) == "miss"
        for server in cluster.servers:
            async with server.client(username="media-cache-proxy", password=_password(_CLUSTER)) as client:
                assert await client.execute_command("ASKING") is True  # type: ignore[no-untyped-call]
            assert await _denied(server) == []


async def test_a_user_who_lacks_a_command_is_told_of_once_and_works_once_it_is_granted(
    own_redis: RedisServer, upstream: FakeMediaServer
) -> None:
    await _permit(own_redis, (*_ONE_SERVER, "-hget"))
    addr = f"redis://media-cache-proxy:{_password(_ONE_SERVER)}@127.0.0.1:{own_redis.port}"
    async with (
        ProxyProcess(REDIS_ADDR=addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy,
        Gateway(proxy.addr) as gateway,
    ):
        assert [await gateway.x_cache() for _ in range(5)] == ["miss"] * 5
        (line,) = await proxy.logged("Redis refuses one of")
        assert "+hget" in line
        assert "to the user in REDIS_ADDR" in line
        state = (await _stats(proxy))["dependencies"]["redis"]
        assert not state["up"]  # what cannot be invalidated is not believed
        assert "+hget" in state["reason"]
        await own_redis.cli("ACL", "SETUSER", "media-cache-proxy", "+hget")
        await until(lambda: _up(proxy), "Redis to be usable")
        assert await gateway.x_cache() == "miss"
        await gateway.hits()
        await proxy.logged("Redis no longer refuses any of the proxy's commands")
        assert (await _stats(proxy))["dependencies"]["redis"]["reason"] == ""
        assert len(await proxy.logged("Redis refuses one of")) == 1


async def _up(proxy: ProxyProcess) -> bool:
    return await proxy.metric('media_cache_dependency_up{dependency="redis"}') == 1


async def _stats(proxy: ProxyProcess) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        told: dict[str, Any] = (await client.get(f"http://127.0.0.1:{proxy.admin_port}/stats")).json()
    return told


def test_a_cluster_needs_three_commands_more() -> None:
    assert _granted(_CLUSTER) - _granted(_ONE_SERVER) == {"cluster|slots", "cluster|info", "asking"}
    assert _granted(_ONE_SERVER) <= _granted(_CLUSTER)
