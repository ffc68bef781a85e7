"""`HandCaller`: a caller that writes HTTP/2 frames itself, for what no gRPC library sends or shows."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import hpack

from tests.as_direct.upstream import Pairs, decoded, table_size
from tests.support.raw_http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    Frame,
    frame,
    frames,
    headers,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call, as any caller sees it."""

    code: int | None
    """grpc-status; None if there was none."""
    details: str = ""
    initial: tuple[tuple[str, str | bytes], ...] = ()
    trailing: tuple[tuple[str, str | bytes], ...] = ()
    messages: tuple[bytes, ...] = ()
    reset: int | None = None
    """The code of the RST_STREAM that ended it."""


def request(path: str, fields: Fields = (), *, content_type: bytes = b"application/grpc") -> list[tuple[bytes, bytes]]:
    """The header fields of a call."""
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"callers.own")]
    return [*pseudo, (b"te", b"trailers"), (b"content-type", content_type), *fields]


class HandCaller:
    """One connection; `call` begins a stream on it and returns once that has ended.

    `indexed`: header fields that were sent before are sent as their index, as HPACK allows and every library does.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, indexed: bool = False) -> None:
        self._frames = frames(reader)
        self._writer = writer
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder() if indexed else None
        self._last = -1
        self._unread: list[Frame] = []
        writer.write(PREFACE + frame(SETTINGS, 0, 0))

    @classmethod
    async def connected(cls, port: int, *, indexed: bool = False) -> "HandCaller":
        """Connects, and returns once the peer's SETTINGS have arrived."""
        caller = cls(*await asyncio.open_connection("127.0.0.1", port), indexed=indexed)
        async for received in caller._frames:
            if received.kind == SETTINGS and not received.flags & ACK:
                caller._allowed(received.payload)
                return caller
        raise ConnectionResetError("no SETTINGS came")

    async def call(self, fields: Fields, data: bytes | None = b"\0\0\0\0\1q", timeout: float = 20) -> Outcome:
        """`data` is the body; with None, END_STREAM is set in the HEADERS frame."""
        self._last += 2
        stream, end = self._last, END_STREAM if data is None else 0
        if self._encoder is None:
            block = headers(stream, fields, end)
        else:
            block = frame(HEADERS, END_HEADERS | end, stream, self._encoder.encode(fields, huffman=False))
        self._writer.write(block + (b"" if data is None else frame(DATA, END_STREAM, stream, data)))
        async with asyncio.timeout(timeout):
            return await self._outcome(stream)

    async def said(self, *parts: bytes, timeout: float = 20) -> Outcome:
        """Sends frames as they are, for the first stream. Each later part waits until the earlier ones were read."""
        self._last = 1
        for number, part in enumerate(parts):
            if number:
                await self._read_so_far(b"%08d" % number)
            self._writer.write(part)
        async with asyncio.timeout(timeout):
            return await self._outcome(1)

    @property
    def local_port(self) -> int:
        """The port at the caller's end."""
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def ended(self) -> bytes:
        """Reads without answering pings until the peer has closed; returns the text of its GOAWAY."""
        return b"".join([each.payload[8:] async for each in self._received() if each.kind == GOAWAY])

    async def _read_so_far(self, mark: bytes) -> None:
        self._writer.write(frame(PING, 0, 0, mark))
        async for received in self._frames:
            if received.kind == PING and received.flags & ACK and received.payload == mark:
                return
            self._unread.append(received)

    async def _received(self) -> AsyncIterator[Frame]:
        while self._unread:
            yield self._unread.pop(0)
        async for received in self._frames:
            yield received

    def _allowed(self, settings: bytes) -> None:
        self._writer.write(frame(SETTINGS, ACK, 0))
        if self._encoder is not None and (size := table_size(settings)) is not None:
            self._encoder.header_table_size = size

    async def _outcome(self, stream: int) -> Outcome:
        blocks: list[Pairs] = []
        body = b""
        async for received in self._received():
            if received.kind in {SETTINGS, PING} and not received.flags & ACK:
                payload = received.payload if received.kind == PING else b""
                self._writer.write(frame(received.kind, ACK, 0, payload))
            fields = decoded(self._decoder, received) if received.kind == HEADERS else ()
            if received.kind == GOAWAY:
                raise ConnectionAbortedError(received.payload[8:])
            if received.stream != stream:
                continue
            if received.kind == RST_STREAM:
                return outcome(blocks, body, int.from_bytes(received.payload))
            if received.kind == HEADERS:
                blocks.append(fields)
            elif received.kind == DATA:
                body += received.payload
                self._writer.write(frame(WINDOW_UPDATE, 0, 0, max(1, len(received.payload)).to_bytes(4)))
            if received.flags & END_STREAM and received.kind in {HEADERS, DATA}:
                return outcome(blocks, body, None)
        raise ConnectionResetError("the connection ended before the call did")

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def call(port: int, fields: Fields, data: bytes | None = b"\0\0\0\0\1q", timeout: float = 20) -> Outcome:
    """Makes one call on a new connection."""
    caller = await HandCaller.connected(port)
    try:
        return await caller.call(fields, data, timeout)
    finally:
        await caller.close()


def outcome(blocks: Sequence[Pairs], body: bytes, reset: int | None) -> Outcome:
    """The outcome that a gRPC library would derive from header blocks and body; a single block is trailers."""
    fields = [(key.decode(), value.decode("latin-1")) for block in blocks for key, value in block]
    status = [value for key, value in fields if key == "grpc-status"]
    details = [value for key, value in fields if key == "grpc-message"]
    initial, trailing = (blocks[0], blocks[1]) if len(blocks) > 1 else ((), *blocks, ())[:2]
    return Outcome(
        int(status[0]) if status else None,
        details[0] if details else "",
        _shown(initial),
        _shown(trailing),
        tuple(messages(body)),
        reset,
    )


def messages(body: bytes) -> Iterator[bytes]:
    """The messages of a body; an incomplete rest is yielded last."""
    while len(body) >= 5:
        end = 5 + int.from_bytes(body[1:5])
        yield body[5:end]
        body = body[end:]
    if body:
        yield body


_NOT_SHOWN = frozenset({":status", "grpc-status", "grpc-message", "grpc-accept-encoding", "accept-encoding"})


def _shown(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str | bytes], ...]:
    """Header fields as metadata."""
    return tuple((key.decode(), value.decode("latin-1")) for key, value in fields if key.decode() not in _NOT_SHOWN)
