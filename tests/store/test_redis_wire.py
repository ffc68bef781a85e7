"""The bytes of one connection: what is written when, and what ends it; on asyncio's event loop and that of `serve`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from proxy.injector import pki
from proxy.store.redis_wire import Wire
from tests.support.redis_parts import Seen, body_of, cached, maker, request_key, storing
from tests.support.servers.children import free_port
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

PING = b"*1\r\n$4\r\nPING\r\n"


@asynccontextmanager
async def wired(port: int) -> "AsyncIterator[tuple[Wire, Seen, list[object]]]":
    """A wire, its connection, and all its replies."""
    connection = maker(port)()
    await connection.connect()  # type: ignore[no-untyped-call]
    replies: list[object] = []
    wire = await Wire.taken(connection, replies.append)
    connection.writes = 0
    transport = wire._transport
    assert transport is not None
    try:
        yield wire, connection, replies
    finally:
        wire.over.cancel()
        transport.abort()
        await connection.disconnect(nowait=True)


async def test_one_write_for_all_of_a_turn(redis: RedisServer) -> None:
    async with wired(redis.port) as (wire, connection, replies):
        for _ in range(3):
            wire.send(PING)
        assert connection.writes == 0
        await until(lambda: replies == [b"PONG"] * 3)
        assert connection.writes == 1


async def test_at_once_is_within_the_turn_and_never_before_what_waits(redis: RedisServer) -> None:
    async with wired(redis.port) as (wire, connection, replies):
        wire.send(PING, at_once=True)
        assert connection.writes == 1
        wire.send(b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n")
        wire.send(b"*2\r\n$4\r\nECHO\r\n$1\r\nb\r\n", at_once=True)
        assert connection.writes == 1
        await until(lambda: replies == [b"PONG", b"a", b"b"])
        assert connection.writes == 2


async def test_an_error_of_redis_is_a_reply_of_redis_pys_own_kind(redis: RedisServer) -> None:
    async with wired(redis.port) as (wire, _, replies):
        wire.send(b"*1\r\n$4\r\nHGET\r\n")
        wire.send(PING)
        await until(lambda: len(replies) == 2)
        assert isinstance(replies[0], ResponseError)
        assert not wire.over.done()


async def test_what_the_receiver_raises_ends_it_and_nothing_comes_after(redis: RedisServer) -> None:
    connection: AbstractConnection = maker(redis.port)()
    await connection.connect()  # type: ignore[no-untyped-call]
    seen = 0

    def received(_: object) -> None:
        nonlocal seen
        seen += 1
        raise RuntimeError("on purpose")

    wire = await Wire.taken(connection, received)
    for _ in range(3):
        wire.send(PING)
    with pytest.raises(RuntimeError, match="on purpose"):
        await wire.over
    assert seen == 1
    await connection.disconnect(nowait=True)


async def test_the_servers_end_is_its_end(own_redis: RedisServer) -> None:
    async with wired(own_redis.port) as (wire, _, _replies):
        own_redis.kill()
        with pytest.raises((RedisConnectionError, OSError)):
            await wire.over


async def test_what_is_no_redis_ends_it(redis: RedisServer) -> None:
    async with wired(redis.port) as (wire, _, replies):
        wire.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(InvalidResponse):
            await wire.over
        assert replies == []


async def test_a_reply_before_anything_was_asked_is_refused(redis: RedisServer) -> None:
    connection = maker(redis.port)()
    await connection.connect()  # type: ignore[no-untyped-call]
    assert connection._writer is not None
    connection._writer.write(PING)
    await until(connection.can_read)
    with pytest.raises(RedisConnectionError, match="nobody asked for"):
        await Wire.taken(connection, lambda _: None)
    await connection.disconnect(nowait=True)


async def test_after_its_end_nothing_is_written(redis: RedisServer) -> None:
    async with wired(redis.port) as (wire, connection, _replies):
        wire.send(PING)
        wire.end(RedisConnectionError("dropped"))
        wire.send(PING)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert connection.writes == 0
        with pytest.raises(RedisConnectionError, match="dropped"):
            await wire.over


async def test_while_the_socket_takes_no_more_commands_wait_and_then_go_out_in_order(redis: RedisServer) -> None:
    async with FaultyTcp(redis.port) as tcp, wired(tcp.port) as (wire, connection, replies):
        tcp.stall()
        large = bytes(32 << 20)
        wire.send(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(large), large))
        await until(lambda: connection.writes == 1)
        wire.send(PING)
        wire.send(PING)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert connection.writes == 1
        tcp.resume()
        await until(lambda: len(replies) == 3)
        assert replies[1:] == [b"PONG", b"PONG"]
        assert connection.writes == 2


async def test_through_tls(tmp_path: Path) -> None:
    """A whole store, so that more than one TLS record passes in each direction."""
    pair = pki.make(["localhost"], datetime.now(UTC), timedelta(hours=1))
    for name, pem in (("ca", pair.ca), ("cert", pair.certificate), ("key", pair.key)):
        (tmp_path / f"{name}.pem").write_bytes(pem)
    port = free_port()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    config = (f"tls-port {port}", f"tls-cert-file {files['cert']}", f"tls-key-file {files['key']}")
    async with (
        RedisServer(*config, f"tls-ca-cert-file {files['ca']}", "tls-auth-clients no"),
        storing(f"rediss://localhost:{port}?ssl_ca_certs={files['ca']}") as store,
    ):
        bodies = [bytes([number]) * 100_000 for number in range(20)]
        keys = [request_key(number) for number in range(20)]
        await asyncio.gather(*(cached(store, key, body) for key, body in zip(keys, bodies, strict=True)))
        assert await asyncio.gather(*(body_of(store, key) for key in keys)) == bodies


@pytest.mark.parametrize(
    "test",
    [
        test_one_write_for_all_of_a_turn,
        test_at_once_is_within_the_turn_and_never_before_what_waits,
        test_an_error_of_redis_is_a_reply_of_redis_pys_own_kind,
        test_what_the_receiver_raises_ends_it_and_nothing_comes_after,
        test_the_servers_end_is_its_end,
        test_a_reply_before_anything_was_asked_is_refused,
        test_while_the_socket_takes_no_more_commands_wait_and_then_go_out_in_order,
    ],
)
def test_on_uvloop(test: Callable[[RedisServer], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with RedisServer() as server:
            await test(server)

    uvloop.run(run())


def test_through_tls_on_uvloop(tmp_path: Path) -> None:
    uvloop.run(test_through_tls(tmp_path))
