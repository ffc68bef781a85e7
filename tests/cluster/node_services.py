"""`Services`: the toy node's kube-proxy. It listens on each Service's address and forwards to ready pods."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

Target = tuple[str, int]


class Services:
    """`choose(service, port)` gives the pods' addresses that a connection may go to."""

    def __init__(self, choose: Callable[[dict[str, Any], dict[str, Any]], list[Target]]) -> None:
        self._choose = choose
        self._servers: dict[Target, asyncio.Server] = {}
        self._known: dict[Target, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, services: list[dict[str, Any]]) -> None:
        """Listens for these Services, and no longer for others."""
        self._known = {
            (each["spec"]["clusterIP"], port["port"]): (each, port)
            for each in services
            if each["spec"].get("clusterIP") not in {None, "None", ""}
            for port in each["spec"].get("ports") or ()
        }
        for address in self._servers.keys() - self._known.keys():
            self._servers.pop(address).close()
        for address in self._known.keys() - self._servers.keys():
            self._servers[address] = await asyncio.start_server(self._handler(address), *address)

    def hosts(self) -> str:
        """The cluster's DNS names, as lines of /etc/hosts."""
        lines = ["127.0.0.1 localhost"]
        for (ip, _), (service, _) in self._known.items():
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            base = f"{name}.{namespace}"
            lines.append(f"{ip} {base}.svc {base}.svc.cluster.local {base} {name}")
        return "\n".join(dict.fromkeys(lines)) + "\n"

    async def close(self) -> None:
        """Ends all listeners and connections."""
        for server in self._servers.values():
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _handler(self, address: Target) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._forward(address, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return accepted

    async def _forward(self, address: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets = self._choose(*self._known[address]) if address in self._known else []
        with contextlib.suppress(OSError), contextlib.closing(writer):
            if not targets:
                return
            there, back = await asyncio.open_connection(*random.choice(targets))  # noqa: S311 -- no secret
            with contextlib.closing(back):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, back))
                    group.create_task(_pump(there, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copies a stream until either side ends."""
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(OSError):
        if sink.can_write_eof():
            sink.write_eof()
