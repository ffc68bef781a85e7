"""The fixtures that give tests a real Redis and a real RabbitMQ.

The session's servers are started and ended outside of any test's event loop. If a server is not installed, the tests
that need it fail with one line that says what to install.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from tests.support.envoy_chain import EnvoyChain, envoy_without_redis
from tests.support.raw_upstream import Chain
from tests.support.servers.certificates import Authority
from tests.support.servers.otlp import Collector
from tests.support.servers.process import TRANSPORT_OF_TESTS, ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.server import Server
from tests.support.servers.upstream import FakeMediaServer

# The duration of one example depends more on other load on the machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_Server = TypeVar("_Server", bound=Server)

TRANSPORTS = ("grpcio", "envoy")


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    return str(request.param)


@pytest.fixture
def each_transport(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test of the proxy as a process with each transport."""
    monkeypatch.setenv(TRANSPORT_OF_TESTS, transport)


def _run(coroutine: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA of this test."""
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another CA, which nobody trusts unless a test says so."""
    return Authority(tmp_path, "stranger")


def _running(server: _Server) -> Iterator[_Server]:
    try:
        _run(server.start())
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """One server for all tests that do not break it; use it through `redis`."""
    yield from _running(RedisServer())


@pytest.fixture
async def redis(session_redis: RedisServer) -> RedisServer:
    """A running, empty Redis. A test may do anything to its data, nothing to the server; for that use `own_redis`."""
    await session_redis.cli("FLUSHALL")
    await session_redis.cli("SCRIPT", "FLUSH")
    return session_redis


@pytest.fixture
async def upstream() -> AsyncIterator[FakeMediaServer]:
    """A media service without files."""
    async with FakeMediaServer() as server:
        yield server


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """The collector to which spans are sent."""
    async with Collector() as server:
        yield server


@pytest.fixture
async def own_redis() -> AsyncIterator[RedisServer]:
    """A Redis for this test alone, which it may kill, freeze, restart and configure."""
    async with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def envoy_process() -> Iterator[ProxyProcess]:
    """One proxy with TRANSPORT=envoy that only forwards, for all tests that do not end it; see `EnvoyChain`."""
    proxy = envoy_without_redis()
    try:
        _run(proxy.start())
        yield proxy
    finally:
        proxy.remove()


@pytest.fixture
def chain_of(transport: str, request: pytest.FixtureRequest) -> Chain:
    """The chain, not started yet; requested outside of any event loop, as `envoy_process` must be."""
    return EnvoyChain(proxy=request.getfixturevalue("envoy_process")) if transport == "envoy" else Chain()


@pytest.fixture
async def grpcio_chain() -> AsyncIterator[Chain]:
    """The chain whose proxy is in this process, for tests that inspect it."""
    async with Chain() as chain:
        yield chain


@pytest.fixture
async def any_chain(chain_of: Chain) -> AsyncIterator[Chain]:
    """A caller, the proxy, and an upstream in raw bytes, with each transport."""
    async with chain_of as chain:
        yield chain


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitServer]:
    """One broker for all tests that do not break it; `await rabbit.vhost()` returns the URL of a new virtual host."""
    yield from _running(RabbitServer())


@pytest.fixture(scope="session")
def breakable_rabbit() -> Iterator[RabbitServer]:
    """The broker behind `own_rabbit`: a start takes seconds, so one node serves all tests that break it."""
    yield from _running(RabbitServer())


@pytest.fixture
async def own_rabbit(breakable_rabbit: RabbitServer) -> RabbitServer:
    """A running broker that this test may kill, freeze and restart; use a `vhost()` of it."""
    await breakable_rabbit.revive()
    return breakable_rabbit
