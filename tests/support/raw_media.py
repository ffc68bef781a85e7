"""`RawMedia`: a media service in HTTP/2 frames, for what no gRPC server does on request: refuse, turn away, reset.

Each arriving call is treated as the next item of `script` says, and answered once the script is used up.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.support.raw_http2 import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    frames,
    headers,
    message,
)
from tests.support.servers.streams import StreamServer

Deed = Callable[[int], bytes]
"""The bytes to send for the call of this stream. Empty: nothing is sent, and the connection stays open."""

HANG_UP = b"hang up"
REFUSED_STREAM, MAX_CONCURRENT_STREAMS = 7, 3
_AT_LIMIT = 0.02
"""Duration of each call in seconds, if the number of concurrent calls is limited."""
_START = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def answered(stream: int) -> bytes:
    """One message and OK."""
    return headers(stream, _START) + message(stream, b"answer") + headers(stream, [(b"grpc-status", b"0")], END_STREAM)


def reset(code: int) -> Deed:
    """RST_STREAM before anything else."""
    return lambda stream: frame(RST_STREAM, 0, stream, code.to_bytes(4))


def reset_after_headers(code: int) -> Deed:
    """RST_STREAM after the initial metadata."""
    return lambda stream: headers(stream, _START) + frame(RST_STREAM, 0, stream, code.to_bytes(4))


def turned_away(stream: int) -> bytes:
    """GOAWAY whose last call is the one before this, as from nginx after `keepalive_requests`."""
    return frame(GOAWAY, 0, 0, max(0, stream - 2).to_bytes(4) + bytes(4))


def hung_up(_stream: int) -> bytes:
    """Closes the connection without GOAWAY."""
    return HANG_UP


def unanswered(_stream: int) -> bytes:
    return b""


class RawMedia:
    """Listens at `port`; `calls` are the arrived streams, in order, each with the number of its connection.

    Without `windows` it accepts only the 64 KiB with which a connection begins. With `most` it accepts this many
    concurrent calls on each connection, announces the limit, and refuses more.
    """

    def __init__(self, *script: Deed, windows: bool = True, most: int = 0) -> None:
        self.refused = 0
        self._most = most
        self._limited = most > 0
        self._writers = set[asyncio.StreamWriter]()
        self._now = Counter[int]()
        """Calls in progress, by the number of their connection."""
        self.taken = 0
        """Bytes of requests."""
        self._windows = windows
        self.script = list(script)
        self.calls: list[tuple[int, int]] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["RawMedia"]:
        async with StreamServer(self._serve) as server:
            self.port = server.port
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            await reader.readexactly(len(PREFACE))
            writer.write(self._settings())
            self._writers.add(writer)
            async for received in frames(reader):
                self._take(received.kind, received.flags, received.stream, received.payload, writer, number)
        finally:
            self._writers.discard(writer)
            self.open -= 1

    def allow(self, most: int) -> None:
        """Limits the concurrent calls on each present and future connection from now on; 0 is allowed."""
        self._most, self._limited = most, True
        for writer in self._writers:
            writer.write(self._settings())

    def _settings(self) -> bytes:
        limit = MAX_CONCURRENT_STREAMS.to_bytes(2) + self._most.to_bytes(4) if self._limited else b""
        return frame(SETTINGS, 0, 0, limit)

    def _take(
        self, kind: int, flags: int, stream: int, payload: bytes, writer: asyncio.StreamWriter, number: int
    ) -> None:
        if kind in {SETTINGS, PING} and not flags & ACK:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == DATA and payload:
            self.taken += len(payload)
            size = len(payload).to_bytes(4)
            if self._windows:
                writer.write(frame(WINDOW_UPDATE, 0, 0, size) + frame(WINDOW_UPDATE, 0, stream, size))
        elif kind == HEADERS and self._limited:
            self._take_few(stream, writer, number)
        elif kind == HEADERS:
            self.calls.append((number, stream))
            deed = self.script.pop(0) if self.script else answered
            said = deed(stream)
            if said != HANG_UP:
                writer.write(said)
            # After GOAWAY the caller closes the connection; closing it here with unread bytes would lose the GOAWAY.
            if said == HANG_UP:
                writer.close()

    def _take_few(self, stream: int, writer: asyncio.StreamWriter, number: int) -> None:
        if self._now[number] >= self._most:
            self.refused += 1
            writer.write(reset(REFUSED_STREAM)(stream))
            return
        self._now[number] += 1
        asyncio.get_running_loop().call_later(_AT_LIMIT, self._answer, stream, writer, number)

    def _answer(self, stream: int, writer: asyncio.StreamWriter, number: int) -> None:
        self._now[number] -= 1
        writer.write(answered(stream))
