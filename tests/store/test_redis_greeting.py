"""Which servers can be used, and with which message the others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from proxy.store.redis_greeting import Greeting, greet, reign, reign_behind
from tests.support.redis_parts import maker
from tests.support.servers.children import free_port
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.streams import StreamServer

_OTHERS = {
    "active replica": ("role:active-replica\r\nrun_id:1", "role is active-replica"),
    "no role": ("redis_version:1\r\nrun_id:1", "reports no role"),
    "no run id": ("role:master", "no run_id"),
    "a replica": ("role:slave\r\nrun_id:1", "read-only replica"),
    "loading": ("role:master\r\nrun_id:1\r\nloading:1", "loading its data"),
}


@asynccontextmanager
async def _answering(reply: bytes) -> AsyncIterator[int]:
    """The port of a server that gives the same reply to every command; no real Redis does that."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(b"+OK\r\n" * (data.count(b"*") - data.count(b"INFO")) + reply * data.count(b"INFO"))
        writer.close()

    async with StreamServer(answer) as server:
        yield server.port


async def _greeted(port: int, *, in_cluster: bool = True) -> Greeting:
    connection = maker(port)()
    await connection.connect()  # type: ignore[no-untyped-call]
    try:
        return await greet(connection, in_cluster=in_cluster)
    finally:
        await connection.disconnect(nowait=True)


@pytest.mark.parametrize(("info", "words"), _OTHERS.values(), ids=_OTHERS)
async def test_what_is_no_master_is_refused_in_its_own_words(info: str, words: str) -> None:
    async with _answering(b"$%d\r\n%b\r\n" % (len(info), info.encode())) as port:
        with pytest.raises(RedisConnectionError, match=words):
            await _greeted(port)


async def test_a_proxy_that_knows_no_info_is_refused_in_its_own_words() -> None:
    async with _answering(b"-ERR unsupported command 'INFO'\r\n") as port:
        with pytest.raises(RedisConnectionError, match=r"in front of several: .*unsupported command"):
            await _greeted(port)


async def test_a_permission_that_lacks_is_said_as_that(own_redis: RedisServer) -> None:
    await own_redis.cli("ACL", "SETUSER", "default", "-info")
    with pytest.raises(NoPermissionError):
        await _greeted(own_redis.port)


async def test_a_master_tells_its_reign(redis: RedisServer) -> None:
    greeting = await _greeted(redis.port, in_cluster=False)
    run_id = (await redis.info("server"))["run_id"].encode()
    assert greeting.reign == reign(run_id, greeting.replication.history)
    assert greeting.replication.master
    assert not greeting.in_cluster
    assert await reign_behind(maker(redis.port)) == greeting.reign


async def test_nobody_is_behind_an_address_where_nobody_is() -> None:
    assert await reign_behind(maker(free_port())) is None


async def test_a_cluster_of_several_masters_is_no_single_server() -> None:
    async with RedisCluster() as cluster:
        with pytest.raises(RedisConnectionError, match=r"Cluster: write redis\+cluster://"):
            await _greeted(cluster.servers[0].port, in_cluster=False)
        assert (await _greeted(cluster.servers[0].port)).in_cluster
