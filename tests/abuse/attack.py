"""`Attacker`: one HTTP/2 connection that does what no gRPC library would, and follows the protocol only if it must."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import hpack

from tests.support.raw_http2 import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Fields,
    Frame,
    frame,
    frames,
)

_FRAME = 16_000
"""Bytes of a frame's payload; peers accept 16,384 unless they say otherwise."""
HEADER_TABLE, INITIAL_WINDOW = 1, 4
"""Ids of settings. Without a header table, every received header field is a literal, which `Attacker.said` needs."""


def fields(path: str, *more: tuple[bytes, bytes]) -> Fields:
    """The header fields of a call."""
    start = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"tests")]
    return [*start, (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]


def literal(key: bytes, value: bytes, *, remembered: bool = False) -> bytes:
    """A literal header field in HPACK (RFC 7541, 6.2); `remembered` adds it to the dynamic table, as index 62."""
    return (b"\x40" if remembered else b"\x00") + _integer(len(key)) + key + _integer(len(value)) + value


LARGEST_WINDOW = (1 << 31) - 1
WIDEST = frame(8, 0, 0, (LARGEST_WINDOW - 65_535).to_bytes(4))
"""A WINDOW_UPDATE that makes the connection's window as large as possible."""

REMEMBERED = b"\xbe"
"""The most recently remembered header field by its index, which is one byte."""


def _integer(value: int) -> bytes:
    """An integer of RFC 7541, 5.1, with a prefix of 7 bits."""
    if value < 127:
        return bytes([value])
    value -= 127
    more = bytearray([127])
    while value >= 128:
        more.append(value % 128 + 128)
        value //= 128
    return bytes([*more, value])


def header_frames(stream: int, block: bytes, flags: int = 0) -> bytes:
    """The frames of a header block of any length: HEADERS, and as many CONTINUATION frames as needed."""
    parts = [block[at : at + _FRAME] for at in range(0, len(block), _FRAME)]
    kinds = [HEADERS, *[CONTINUATION] * (len(parts) - 1)]
    ends = [0] * (len(parts) - 1) + [END_HEADERS]
    flagged = [flags, *[0] * (len(parts) - 1)]
    return b"".join(
        frame(kind, end | flag, stream, part) for kind, end, flag, part in zip(kinds, ends, flagged, parts, strict=True)
    )


class Attacker:
    """Answers SETTINGS and PING, and counts and keeps what arrives; `settings` are the ones it
    sends, as (id, value).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.received: list[Frame] = []
        self.kinds = Counter[int]()
        self._reader = reader
        self._unpack = hpack.Decoder()

    async def send(self, data: bytes) -> None:
        """Sends data; it waits for the socket, but for no flow-control window."""
        self.writer.write(data)
        await self.writer.drain()

    async def listen(self) -> None:
        """Reads frames until the connection ends."""
        async for received in frames(self._reader):
            self.received.append(self._spelt_out(received) if received.kind == HEADERS else received)
            self.kinds[received.kind] += 1
            if received.kind in {SETTINGS, PING} and not received.flags & ACK:
                self.writer.write(frame(received.kind, ACK, 0, received.payload if received.kind == PING else b""))

    def _spelt_out(self, received: Frame) -> Frame:
        """The frame with its header fields as literals, however they were encoded."""
        fields = self._unpack.decode(received.payload, raw=True)
        return replace(received, payload=b"".join(literal(key, value) for key, value in fields))

    @property
    def answered(self) -> set[int]:
        """The calls that were answered with a status."""
        return {each.stream for each in self.received if each.kind == HEADERS and each.flags & END_STREAM}

    @property
    def ended(self) -> int:
        """The number of calls that were answered with a status."""
        return sum(each.kind == HEADERS and bool(each.flags & END_STREAM) for each in self.received)

    @property
    def reset(self) -> int:
        """The number of calls that were reset without an answer, as Envoy does after too many headers."""
        return len({each.stream for each in self.received if each.kind == RST_STREAM} - self.answered)

    def said(self, words: bytes) -> int:
        """The number of received frames that contain these words."""
        return sum(words in received.payload for received in self.received)


@asynccontextmanager
async def attacker(port: int, *settings: tuple[int, int], deaf: bool = False) -> AsyncIterator[Attacker]:
    """A connection, closed at the end; a deaf one reads nothing from its socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    attacking = Attacker(reader, writer)
    listening = asyncio.create_task(asyncio.Event().wait() if deaf else attacking.listen())
    try:
        ours = b"".join(number.to_bytes(2) + value.to_bytes(4) for number, value in ((HEADER_TABLE, 0), *settings))
        await attacking.send(PREFACE + frame(SETTINGS, 0, 0, ours))
        yield attacking
    finally:
        writer.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
