"""`Stack`: every server that is compared, each a process of its own, all at once, to be asked in turns.

origin   compiled: fixed answers at once, to all     media  a media service in Python, whose answers vary
slow     the same, after 50 ms                       redis  a redis-server
echo     the least that a server on grpc.aio can do; look, shape: with one HGET; pass: one call to `origin` (`floors`)
proxy-…  `media-cache-proxy serve`, once for each transport, before `origin`
naive    cache-aside as one would write it           envoy  a plain Envoy before `origin`
"""

import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.accounting import Tree
from bench.envoy import envoy
from bench.origin import origin
from tests.support.servers.children import Child, free_port
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

TRANSPORTS = ("grpcio", "envoy")
"""As `TRANSPORT` takes them."""
SLOW = 0.050
FLOORS: dict[str, tuple[str, ...]] = {"echo": (), "look": ("redis",), "shape": ("redis",), "pass": ("origin",)}
"""By server, what it asks."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    address: str
    tree: Tree
    started_in: float
    """Seconds from its start to its first answer: to an open port, or `/readyz` of the proxy."""


class Stack:
    """Starts them and ends them."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self._proxies: dict[str, ProxyProcess] = {}
        self._exits = AsyncExitStack()

    async def proxy(self, name: str, **settings: str) -> Server:
        """One more proxy on the stack's Redis and `origin`."""
        given = {"REDIS_ADDR": self.servers["redis"].address, "MEDIA_SERVICE_ADDR": self.servers["origin"].address}
        process = ProxyProcess(**(given | settings))
        begun = time.perf_counter()
        self._proxies[name] = await self._exits.enter_async_context(process)
        return self._add(name, process.addr, process.pid, begun)

    async def hits(self, name: str) -> int:
        """How many reads a proxy has answered out of Redis so far."""
        return int(await self._proxies[name].metric('media_cache_requests_total{result="hit"}'))

    async def fetched(self, name: str) -> int:
        """How many calls a proxy has sent upstream so far."""
        return int(await self._proxies[name].metric("rpc_client_call_duration_seconds_count"))

    async def start(self, *names: str) -> None:
        """Those of the list above that are named; `origin` and `redis` are always there."""
        folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        begun = time.perf_counter()
        redis = await self._exits.enter_async_context(RedisServer())
        self._add("redis", redis.addr, redis.child.pid, begun)
        port = free_port()
        await self._child("origin", port, origin(folder / "origin", port))
        for name in names:
            if name == "media":
                await self._program(name, folder, "bench.media_service")
            elif name == "slow":
                await self._program(name, folder, "bench.media_service", "--delay", str(SLOW))
            elif name in FLOORS:
                await self._program(
                    name, folder, "bench.floors", name, *(self.servers[each].address for each in FLOORS[name])
                )
            elif name == "naive":
                places = (self.servers["redis"].address, self.servers["origin"].address)
                await self._program(name, folder, "bench.naive", *places)
            elif name == "envoy":
                port = free_port()
                await self._child(name, port, envoy(folder / name, port, self.servers["origin"].address))
            else:
                await self.proxy(name, TRANSPORT=name.removeprefix("proxy-"))

    async def _program(self, name: str, folder: Path, module: str, *arguments: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", module, str(port), *arguments]
        await self._child(name, port, Child(name, command, folder / name, {**os.environ, "PYTHONPATH": str(ROOT)}))

    async def _child(self, name: str, port: int, child: Child) -> None:
        begun = time.perf_counter()
        child.spawn()
        self._exits.callback(child.kill)

        async def listening() -> bool:
            child.require_running()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listening, f"{name} to listen")
        self._add(name, f"127.0.0.1:{port}", child.pid, begun)

    def _add(self, name: str, address: str, pid: int, begun: float) -> Server:
        self.servers[name] = server = Server(address, Tree(pid), time.perf_counter() - begun)
        return server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exits.aclose()
