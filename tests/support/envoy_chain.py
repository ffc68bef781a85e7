"""`EnvoyChain`: the `Chain` for TRANSPORT=envoy, whose proxy is a process."""

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc.aio

from proxy.calls.call import Metadata
from tests.support.raw_upstream import Chain, RawUpstream
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess

_UPSTREAM = "127.0.0.1"


def envoy_without_redis() -> ProxyProcess:
    """A proxy that only forwards, to a port on which each test's `RawUpstream` can listen."""
    return ProxyProcess(TRANSPORT="envoy", MEDIA_SERVICE_ADDR=f"{_UPSTREAM}:{free_port()}")


@dataclass(slots=True, kw_only=True)
class EnvoyChain(Chain):
    """A caller's channel, the running proxy, and a `RawUpstream` at its MEDIA_SERVICE_ADDR."""

    proxy: ProxyProcess

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.raw = RawUpstream()
            self.raw.port = int(self.proxy.settings["MEDIA_SERVICE_ADDR"].rpartition(":")[2])
            await stack.enter_async_context(self.raw)
            self.port = self.proxy.listen_port
            self.channel = self.connect()
            stack.push_async_callback(self.channel.close)
            self._stack = stack.pop_all()
        return self


def without_date(metadata: grpc.aio.Metadata | None) -> Metadata:
    """The metadata that upstream or the proxy sent, without the `date` that Envoy adds (RFC 9110, 6.6.1)."""
    return tuple((key, value) for key, value in metadata or () if key != "date")


def envoy_of(proxy: ProxyProcess) -> int:
    """The process id of its Envoy; ValueError while there is none."""
    [child] = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    return int(child)


def admin_socket_of(proxy: ProxyProcess) -> Path:
    """Where that Envoy's admin interface is."""
    command = Path(f"/proc/{envoy_of(proxy)}/cmdline").read_bytes().split(b"\0")
    config = Path(command[command.index(b"-c") + 1].decode())
    return Path(json.loads(config.read_text())["admin"]["address"]["pipe"]["path"])
