"""`HandUpstream`: an upstream that writes HTTP/2 frames itself, for answers that no gRPC library sends."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import hpack

from tests.support.raw_http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
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
    message,
)
from tests.support.servers.streams import StreamServer

_PADDED, _PRIORITY = 8, 0x20
_CONTENT_TYPE = (b"content-type", b"application/grpc")

When = Literal["headers", "message", "half-close"]
Pairs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a stream, and when it is sent: a function from the stream's number to the bytes of frames."""

    frames: Callable[[int], bytes]
    when: When = "half-close"


@dataclass(frozen=True, slots=True)
class Indexed:
    """An answer whose trailers refer by index to fields sent before on the connection, if the peer allows that."""

    trailing: Fields
    when: When = "half-close"


def answered(
    *bodies: bytes, initial: Fields = (), trailing: Fields = (), status: bytes = b"0", when: When = "half-close"
) -> Answer:
    """An answer of headers, a message for each body, and trailers."""

    def written(stream: int) -> bytes:
        first = headers(stream, [(b":status", b"200"), _CONTENT_TYPE, *initial])
        last = headers(stream, [(b"grpc-status", status), *trailing], END_STREAM)
        return first + b"".join(message(stream, body) for body in bodies) + last

    return Answer(written, when)


def http_answer(status: int, body: bytes, content_type: bytes = b"text/html", more: Fields = ()) -> Answer:
    """An answer of a load balancer or web server, which is not gRPC."""
    fields = [(b":status", b"%d" % status), (b"content-type", content_type), *more]
    if not body:
        return Answer(lambda stream: headers(stream, fields, END_STREAM))
    return Answer(lambda stream: headers(stream, fields) + frame(DATA, END_STREAM, stream, body))


@dataclass(slots=True)
class Arrived:
    """One request as upstream saw it."""

    fields: Pairs
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: bool = False

    def of(self, name: bytes) -> list[bytes]:
        """The values of a field, in order."""
        return [value for key, value in self.fields if key == name]

    @property
    def path(self) -> bytes:
        return self.of(b":path")[0]

    @property
    def metadata(self) -> Pairs:
        """The header fields without those that describe the connection or the caller's library."""
        return tuple(sorted(pair for pair in self.fields if pair[0] not in _OF_THE_CONNECTION))


_OF_THE_CONNECTION = frozenset(
    {b":method", b":scheme", b":authority", b"te", b"user-agent", b"grpc-accept-encoding", b"accept-encoding"}
)


class HandUpstream:
    """An upstream with its own event loop and thread, so that it outlives the loop of each test.

    It listens on a free port, and on the Unix socket `path`, if any.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self.answers: dict[bytes, Answer | Indexed] = {}
        self.seen: list[Arrived] = []
        self.port = 0
        self._usual = answered(b"answer")
        self._servers: list[StreamServer] = []

    def at(self, path: str) -> list[Arrived]:
        """The requests for a path."""
        return [each for each in self.seen if each.path == path.encode()]

    @contextmanager
    def serving(self) -> Iterator["HandUpstream"]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="upstream by hand")
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), loop).result(10)
            yield self
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(10)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> None:
        self._servers = [await StreamServer(self._serve).start()]
        self.port = self._servers[0].port
        if self._path:
            self._servers.append(await StreamServer(self._serve, path=self._path).start())

    async def _end(self) -> None:
        for server in self._servers:
            await server.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._connection(reader, writer)
        finally:
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, encoder, streams = hpack.Decoder(), hpack.Encoder(), dict[int, Arrived]()
        decoder.max_header_list_size = 1 << 20
        if await reader.read(len(PREFACE)) != PREFACE:
            return
        writer.write(frame(SETTINGS, 0, 0))
        async for received in frames(reader):
            stream = received.stream
            if received.kind == SETTINGS and (size := table_size(received.payload)) is not None:
                encoder.header_table_size = size
            if received.kind in {SETTINGS, PING} and not received.flags & ACK:
                writer.write(frame(received.kind, ACK, 0, received.payload if received.kind == PING else b""))
            elif received.kind == HEADERS:
                arrived = streams[stream] = Arrived(decoded(decoder, received))
                self.seen.append(arrived)
                self._turn(writer, encoder, stream, arrived, "headers")
            elif received.kind == DATA and received.payload and stream in streams:
                streams[stream].data += received.payload
                for each in (0, stream):
                    writer.write(frame(WINDOW_UPDATE, 0, each, len(received.payload).to_bytes(4)))
                self._turn(writer, encoder, stream, streams[stream], "message")
            elif received.kind == RST_STREAM and stream in streams:
                streams[stream].reset = True
            if received.kind in {HEADERS, DATA} and received.flags & END_STREAM and stream in streams:
                streams[stream].ended = True
                self._turn(writer, encoder, stream, streams[stream], "half-close")

    def _turn(
        self, writer: asyncio.StreamWriter, encoder: hpack.Encoder, stream: int, arrived: Arrived, now: When
    ) -> None:
        answer = self.answers.get(arrived.path, self._usual)
        if answer.when != now:
            return
        if isinstance(answer, Answer):
            writer.write(answer.frames(stream))
            return
        trailers = encoder.encode([(b"grpc-status", b"0"), *answer.trailing], huffman=False)
        writer.write(headers(stream, [(b":status", b"200"), _CONTENT_TYPE]) + message(stream, b"answer"))
        writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers))


def table_size(settings: bytes) -> int | None:
    """SETTINGS_HEADER_TABLE_SIZE in the payload of a SETTINGS frame."""
    found = [settings[at + 2 : at + 6] for at in range(0, len(settings), 6) if settings[at : at + 2] == b"\0\1"]
    return int.from_bytes(found[-1]) if found else None


def decoded(decoder: hpack.Decoder, received: Frame) -> Pairs:
    """The fields of a HEADERS frame."""
    block = received.payload
    if received.flags & _PADDED:
        block = block[1 : len(block) - block[0]]
    if received.flags & _PRIORITY:
        block = block[5:]
    return tuple((bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True))
