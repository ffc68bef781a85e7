"""A name with several addresses, the first of which drops packets: the next one is tried in parallel."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Connection

from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_race import racing
from tests.support.redis_parts import cached, request_key, storing
from tests.support.servers.redis import RedisServer


@pytest.fixture
def swallowed(redis: RedisServer) -> Iterator[None]:
    """Occupies the port of the run's Redis on another address, where the queue of connections is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.2", redis.port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        yield
        for each in waiting:
            each.close()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `redis.test` resolve to both addresses, without a name server."""
    ask = socket.getaddrinfo

    def told(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "redis.test":
            return ask(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, int(port))) for ip in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", told)


@pytest.mark.usefixtures("swallowed", "named")
async def test_the_next_address_is_not_kept_waiting(redis: RedisServer) -> None:
    connection = racing(Connection)(host="redis.test", port=redis.port, socket_connect_timeout=1.0, protocol=2)
    begun = time.monotonic()
    await connection.connect()  # type: ignore[no-untyped-call]
    assert time.monotonic() - begun < 1.0
    await connection.disconnect()


@pytest.mark.usefixtures("swallowed", "named")
async def test_the_store_is_there(redis: RedisServer) -> None:
    target = RedisAddr().parse(f"redis.test:{redis.port}")
    assert target is not None
    async with storing(f"redis.test:{redis.port}") as store:
        await cached(store, request_key())


async def test_nobody_listens_and_an_unknown_name() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for host, port in (("127.0.0.1", nobody.getsockname()[1]), ("nowhere.invalid", 6379)):
            connection = racing(Connection)(host=host, port=port, socket_connect_timeout=1.0, protocol=2)
            with pytest.raises(Exception, match=str(port)):
                await connection.connect()  # type: ignore[no-untyped-call]


async def test_a_connect_that_is_cancelled_leaves_no_socket(redis: RedisServer) -> None:
    for turns in range(12):
        connection = racing(Connection)(host="127.0.0.1", port=redis.port, socket_connect_timeout=1.0, protocol=2)
        connecting = asyncio.create_task(connection.connect())  # type: ignore[no-untyped-call]
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await connection.disconnect(nowait=True)
