"""`FaultyTcp`: a TCP proxy between a client and a server, which injects the faults of a real network."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

from tests.support.servers.children import free_port
from tests.support.servers.streams import StreamServer
from tests.support.servers.waiting import until

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Connection:
    """One client's connection and the one to the server, with two tasks, each for one direction."""

    def __init__(self, proxy: "FaultyTcp", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client_reader, self._client_writer = reader, writer
        self._server_writer: asyncio.StreamWriter | None = None
        self._replied = 0
        self.swallowed = False

    async def run(self) -> None:
        try:
            server_reader, self._server_writer = await asyncio.open_connection(*self._proxy.connected_to())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(self._client_reader, self._server_writer, reply=False))
                group.create_task(self._pump(server_reader, self._client_writer, reply=True))
            for writer in (self._client_writer, self._server_writer):
                writer.close()
        except* OSError:
            pass  # a side was reset or is away: so is the other, below
        finally:
            self.reset()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool) -> None:
        while True:
            await self._proxy.reading.wait()
            chunk = await reader.read(65536)
            await self._proxy.reading.wait()
            if not chunk:
                break
            if self._proxy.swallow or self.swallowed:
                continue
            if reply:
                await asyncio.sleep(self._proxy.delay)
                chunk = self._cut_short(chunk)
            writer.write(chunk)
            await writer.drain()
            if reply and self._proxy.cut_reply_after is not None and self._replied >= self._proxy.cut_reply_after:
                raise ConnectionResetError
        if writer.can_write_eof():
            writer.write_eof()

    def _cut_short(self, chunk: bytes) -> bytes:
        if self._proxy.cut_reply_after is not None:
            chunk = chunk[: max(0, self._proxy.cut_reply_after - self._replied)]
        self._replied += len(chunk)
        return chunk

    def reset(self) -> None:
        """Sends RST both ways, unless it is closed already; what is still buffered is lost."""
        for writer in (self._client_writer, self._server_writer):
            if writer is not None and not writer.transport.is_closing():
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()


class FaultyTcp:
    """Passes connections on to `127.0.0.1:port`; its attributes set the faults, also of open connections."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        """Of connections that are made from now on."""
        self.port = free_port()
        self.connections = 0
        """Connections accepted so far."""
        self.delay = 0.0
        """Seconds by which each piece of a reply is delayed."""
        self.swallow = False
        """Half-open: accepts and reads, but passes on and answers nothing."""
        self.cut_reply_after: int | None = None
        """Bytes of replies after which a connection is reset, counted per connection from its start."""
        self.reading = asyncio.Event()
        """Cleared by `stall()`: then nothing is read any more, so that the senders' buffers fill up."""
        self.reading.set()
        self._open: dict[_Connection, None] = {}
        self._server = StreamServer(self._accept, port=self.port)

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connected_to(self) -> tuple[str, int]:
        """The address of the next connection; a test may override it."""
        return self.target

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._open)

    async def start(self) -> Self:
        """Listens; after `refuse()` on the same port again."""
        await self._server.start()
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self.connections += 1
        self._open[connection] = None
        try:
            await connection.run()
        finally:
            self._open.pop(connection, None)

    async def connected(self, count: int) -> None:
        """Waits until `count` connections were accepted in total."""
        await until(lambda: self.connections >= count, f"{count} connections through {self.addr}")

    def cut(self) -> None:
        """Resets every open connection; new ones are accepted."""
        for connection in list(self._open):
            connection.reset()

    def swallow_one(self, which: int) -> None:
        """The same for only one of the open connections, by age, until it is closed."""
        self._by_age(which).swallowed = True

    def cut_one(self, which: int) -> None:
        """Resets one of the open connections, by age."""
        self._by_age(which).reset()

    def _by_age(self, which: int) -> _Connection:
        return list(self._open)[which]

    def stall(self) -> None:
        """Stops reading in both directions."""
        self.reading.clear()

    def resume(self) -> None:
        """Ends all faults except `refuse()`."""
        self.delay, self.swallow, self.cut_reply_after = 0.0, False, None
        self.reading.set()

    async def refuse(self) -> None:
        """Stops listening and resets every open connection; `start()` ends it."""
        await self.stop()

    async def stop(self) -> None:
        """Stops listening and ends every connection, by a reset; returns once they are gone."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
