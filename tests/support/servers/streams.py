"""`StreamServer`: a TCP server of a test's own, which has ended each of its connections before the test goes on."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class StreamServer:
    """Hands each connection to `talk`. What `talk` leaves open stays open until `stop`; peers may go away at any time.

    asyncio's own server leaves its connections' tasks to the end of the loop, which cancels them and complains of what
    they had open, in whichever test comes next.
    """

    def __init__(self, talk: Talk, *, port: int = 0, path: str = "", credentials: ssl.SSLContext | None = None) -> None:
        """Listens on loopback, or on the Unix socket `path`; 0 is a free port, which it keeps when it starts again."""
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
        """Cancels each `talk` and waits for its end and that of its connection; raises what one has raised."""
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
    """How they ended, once all have; none is left in the set."""
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
    return list(ended)
