"""`Stack`: every server that is compared, each in its own process; all run at the same time and are called in turn.

origin   compiled: fixed answers at once             media  a media service in Python, whose answers vary
slow     the same, after 50 ms                       redis  a redis-server
echo     a minimal server on grpc.aio; look, shape: with one HGET; pass: with one call to `origin` (`floors`)
proxy-…  `media-cache-proxy serve`, one per transport, in front of `origin`
naive    a simple cache-aside proxy                  envoy  a plain Envoy in front of `origin`
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
"""Values of `TRANSPORT`."""
SLOW = 0.050
FLOORS: dict[str, tuple[str, ...]] = {"echo": (), "look": ("redis",), "shape": ("redis",), "pass": ("origin",)}
"""The servers that each server calls."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    address: str
    tree: Tree
    started_in: float
    """Seconds from its start until its port is open, or for the proxy until `/readyz` is ok."""


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
        """Number of reads that a proxy has answered from Redis so far."""
        return int(await self._proxies[name].metric('media_cache_requests_total{result="hit"}'))

    async def fetched(self, name: str) -> int:
        """Number of calls that a proxy has sent upstream so far."""
        return int(await self._proxies[name].metric("rpc_client_call_duration_seconds_count"))

    async def start(self, *names: str) -> None:
        """Starts the named servers of the list above; `origin` and `redis` are always included."""
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
