"""The fixtures that give tests a real Redis and a real RabbitMQ.

Servers of the session are started and ended outside of any test's event loop. A server that is not installed fails the
tests that need it with one line that says what to install.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server

_Server = TypeVar("_Server", bound=Server)


def _run(coroutine: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)


def _running(server: _Server) -> Iterator[_Server]:
    try:
        _run(server.start())
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """One server for all tests that do not break it; take `redis`."""
    yield from _running(RedisServer())


@pytest.fixture
async def redis(session_redis: RedisServer) -> RedisServer:
    """A running, empty Redis. A test may do anything to its data, nothing to the server: that takes `own_redis`."""
    await session_redis.cli("FLUSHALL")
    await session_redis.cli("SCRIPT", "FLUSH")
    return session_redis


@pytest.fixture
async def own_redis() -> AsyncIterator[RedisServer]:
    """A Redis of this test alone, which it may kill, freeze, restart and configure."""
    async with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitServer]:
    """One broker for all tests that do not break it; `await rabbit.vhost()` gives a virtual host of your own."""
    yield from _running(RabbitServer())


@pytest.fixture(scope="session")
def breakable_rabbit() -> Iterator[RabbitServer]:
    """The broker behind `own_rabbit`: a start takes seconds, so that one node serves all tests that break it."""
    yield from _running(RabbitServer())


@pytest.fixture
async def own_rabbit(breakable_rabbit: RabbitServer) -> RabbitServer:
    """A running broker that this test may kill, freeze and restart; take a `vhost()` of it."""
    await breakable_rabbit.revive()
    return breakable_rabbit
