"""HTTP/2 by hand, to send what no gRPC library sends (illegal metadata, odd paths), and to see frames as they arrive.

Frames: RFC 9113, section 4; header fields are written as HPACK literals without indexing (RFC 7541, 6.2.2).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.servers.streams import StreamServer

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it arrived."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame's bytes."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def headers(stream: int, fields: Fields, flags: int = 0) -> bytes:
    """A HEADERS frame; names and values are at most 126 bytes long."""
    block = b"".join(b"\x00" + bytes([len(key)]) + key + bytes([len(value)]) + value for key, value in fields)
    return frame(HEADERS, END_HEADERS | flags, stream, block)


def message(stream: int, body: bytes, flags: int = 0) -> bytes:
    """A DATA frame with one gRPC message."""
    return frame(DATA, flags, stream, b"\x00" + len(body).to_bytes(4) + body)


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Every frame until the connection ends."""
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        yield Frame(head[3], head[4], int.from_bytes(head[5:]), payload)


async def call(port: int, path: bytes, metadata: Fields = (), body: bytes = b"q") -> bytes:
    """Makes one call with one message; returns the payloads of the answer, HPACK included, for tests to search."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"tests")]
    request += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *metadata]
    writer.write(PREFACE + frame(SETTINGS, 0, 0) + headers(1, request) + message(1, body, END_STREAM))
    answer = b""
    try:
        async for received in frames(reader):
            if received.stream == 1:
                answer += received.payload
            ended = received.kind == HEADERS and received.flags & END_STREAM
            if ended or received.kind in {RST_STREAM, GOAWAY}:
                break
    finally:
        writer.close()
        await writer.wait_closed()
    return answer


class Http2Server:
    """Accepts one call per connection and keeps its frames; answers each call's first message with `answer`, if set."""

    def __init__(self, answer: bytes = b"") -> None:
        self.received: list[Frame] = []
        self.port = 0
        self._answer = answer

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Http2Server"]:
        async with StreamServer(self._serve) as server:
            self.port = server.port
            yield self

    def of(self, kind: int) -> list[Frame]:
        """The frames of one kind that belong to a call."""
        return [received for received in self.received if received.kind == kind and received.stream]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PREFACE))
        writer.write(frame(SETTINGS, 0, 0))
        async for received in frames(reader):
            self.received.append(received)
            if received.kind in {SETTINGS, PING} and not received.flags & ACK:
                writer.write(frame(received.kind, ACK, 0, received.payload if received.kind == PING else b""))
            if received.kind == DATA and received.payload and self._answer:
                writer.write(self._answer)


async def pinged(port: int, times: int) -> list[int]:
    """Returns the kinds of the frames that answer this many consecutive pings: PING for each, or a GOAWAY."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    answers: list[int] = []
    try:
        for _ in range(times):
            writer.write(frame(PING, 0, 0, b"01234567"))
            async for received in frames(reader):
                if received.kind == GOAWAY or (received.kind == PING and received.flags & ACK):
                    answers.append(received.kind)
                    break
    finally:
        writer.close()
        await writer.wait_closed()
    return answers
