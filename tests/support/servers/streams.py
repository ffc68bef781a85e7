"""`StreamServer`: a TCP server written by a test, which ends all of its connections when it stops."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class StreamServer:
    """Passes each connection to `talk`. What `talk` leaves open stays open until `stop`; peers may go away at any time.

    asyncio's own server leaves its connections' tasks to the end of the loop, which cancels them and warns about what
    they had open, during any later test.
    """

    def __init__(self, talk: Talk, *, port: int = 0, path: str = "", credentials: ssl.SSLContext | None = None) -> None:
        """Listens on loopback, or on the Unix socket `path`; 0 means a free port, which is kept after a restart."""
        self.port = port
        self._talk = talk
        self._path = path
        self._credentials = credentials
        self._server: asyncio.Server | None = None
        self._tasks = set[asyncio.Task[None]]()
        self._writers = set[asyncio.StreamWriter]()

    async def start(self) -> Self:
        if self._path:
            self._server = await asyncio.start_unix_server(self._connected, self._path)
        else:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._credentials)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    def listen_no_more(self) -> None:
        """Open connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self) -> None:
        """Cancels each `talk` and waits for its end and that of its connection; re-raises an exception of theirs."""
        self.listen_no_more()
        ended = await _cancelled(self._tasks)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        self._writers.clear()
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, OSError | EOFError):
                raise error

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()  # was accepted just before
            return
        self._writers.add(writer)
        self._tasks.add(asyncio.ensure_future(self._talk(reader, writer)))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _cancelled(tasks: set[asyncio.Task[None]]) -> list[BaseException | None]:
    """Cancels all tasks, empties the set, and returns how they ended."""
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
    return list(ended)
