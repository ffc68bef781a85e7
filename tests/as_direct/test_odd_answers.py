"""Odd answers of an upstream that are legal, or that gRPC libraries accept anyway, pass as in a direct call."""

import asyncio
import gzip
from collections.abc import Awaitable
from typing import Any

import grpc.aio
import pytest

from tests.as_direct.conftest import ANY, METHODS, Ways
from tests.as_direct.upstream import Answer, answered, http_answer
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import (
    DATA,
    END_STREAM,
    GOAWAY,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Fields,
    frame,
    headers,
)
from tests.support.raw_upstream import BIG, all_of, unary

_UNKNOWN = 0x42


def written(*frames: bytes | Fields, initial: Fields = (), content_type: bytes = b"application/grpc") -> Answer:
    """An answer of headers and `frames`: payloads of DATA frames, or trailers. The last trailers end the call."""

    def of(stream: int) -> bytes:
        parts = [
            frame(DATA, 0, stream, each) if isinstance(each, bytes) else headers(stream, each, END_STREAM)
            for each in frames
        ]
        start = [(b":status", b"200"), (b"content-type", content_type), *initial]
        return headers(stream, start) + b"".join(parts)

    return Answer(of)


def after(first: bytes, then: bytes = b"") -> Answer:
    """A usual answer with frames before and after it that belong to no call."""
    return Answer(lambda stream: first + answered(b"answer").frames(stream) + then)


def turning_away(code: int, debug: bytes = b"") -> Answer:
    """A GOAWAY whose last stream is this call, followed by the call's answer."""
    said = code.to_bytes(4) + debug
    return Answer(lambda stream: frame(GOAWAY, 0, 0, stream.to_bytes(4) + said) + answered(b"answer").frames(stream))


def ended_by_reset(stream: int) -> bytes:
    """A whole answer and RST_STREAM with NO_ERROR, as from a server that needs no more of the request."""
    return answered(b"answer").frames(stream) + frame(RST_STREAM, 0, stream, bytes(4))


MESSAGE, OK = b"\0\0\0\0\6answer", [(b"grpc-status", b"0")]
PACKED = gzip.compress(b"answer")
ODD = {
    "empty DATA frames": written(*[b""] * 20, MESSAGE, *[b""] * 20, OK),
    "single bytes": written(*(bytes([each]) for each in MESSAGE), OK),
    "an empty message": written(bytes(5), OK),
    "trailers that come twice": written(MESSAGE, OK, [*OK, (b"k", b"2")]),
    "DATA after the trailers": written(MESSAGE, OK, MESSAGE),
    "no status": written(MESSAGE, [(b"k", b"1")]),
    "a status in headers and trailers": written(MESSAGE, OK, initial=[(b"grpc-status", b"7")]),
    "RST_STREAM after the trailers": Answer(ended_by_reset),
    "priorities": after(frame(PRIORITY, 0, 1, bytes(4) + b"\5") * 300),
    "frames of an unknown kind": after(frame(_UNKNOWN, 255, 0, b"x") * 50, frame(_UNKNOWN, 0, 1, b"y")),
    "SETTINGS in a row": after(frame(SETTINGS, 0, 0) * 500),
    "PING in a row": after(frame(PING, 0, 0, bytes(8)) * 500),
    "GOAWAY": turning_away(0),
    "GOAWAY that asks for calm": turning_away(11, b"too_many_pings"),
    "compressed": written(b"\1" + len(PACKED).to_bytes(4) + PACKED, OK, initial=[(b"grpc-encoding", b"gzip")]),
    "compressed without a word": written(b"\1\0\0\0\1q", OK),
    "compressed by nothing": written(b"\1\0\0\0\1q", OK, initial=[(b"grpc-encoding", b"identity")]),
    "compressed by what nobody knows": written(b"\1\0\0\0\1q", OK, initial=[(b"grpc-encoding", b"zstd")]),
    "a refusal with OK in HTTP": http_answer(200, b"", b"application/grpc", [(b"grpc-status", b"7"), (b"k", b"1")]),
    "a refusal with 503": http_answer(503, b"", b"application/grpc", [(b"grpc-status", b"8"), (b"k", b"1")]),
    "a pushback": http_answer(
        200, b"", b"application/grpc", [(b"grpc-status", b"14"), (b"grpc-retry-pushback-ms", b"10")]
    ),
    **{
        f"content-type {each!r}": written(MESSAGE, OK, content_type=each)
        for each in (b"application/grpc;a=b", b"text/plain")
    },
    **{f"status {each!r}": answered(status=each) for each in (b"-1", b"abc", b"", b"17", b"4294967296", b"016")},
    **{
        f"details {each!r}": answered(status=b"9", trailing=[(b"grpc-message", each)])
        for each in (b"%zz", b"%", b"%FF%FE", b"%E4%B8", b"a\tb", "ü".encode(), b"", b" a", b"%0A%0D", b"a%20b+c%2B")
    },
    **{
        f"{key.decode()} {value!r}": answered(b"answer", trailing=[(key, value)])
        for key, value in (
            *((b"k-bin", each) for each in (b"AP8=", b"AP8", b"AP8,AQ", b"", b"!!")),
            *((b"k", each) for each in (b"", b" a ", b"v" * 100)),
            *((each, b"1") for each in (b"a.b", b"-", b"_", b"0", b"grpc-foo", b"retry-after", b"x-envoy-overloaded")),
        )
    },
}


async def seen(ways: Ways, way: str, method: str) -> object:
    """What a caller with grpc-python sees: status, details, messages, initial and trailing metadata."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ways.port(way)}", options=BIG) as channel:
        streams: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        call: Any = streams(iter([b"q"]), timeout=10) if method == ANY else unary(channel, method, b"q", timeout=10)
        answer: Awaitable[object] = all_of(call) if method == ANY else call
        [messages] = await asyncio.gather(answer, return_exceptions=True)
        initial, trailing = [
            sorted(pair for pair in found or () if pair[0] not in {"x-cache", "age", "date"})
            for found in (await call.initial_metadata(), await call.trailing_metadata())
        ]
        body = None if isinstance(messages, BaseException) else messages
        return await call.code(), await call.details(), body, initial, trailing


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_answer_passes(ways: Ways, way: str, method: str, odd: str) -> None:
    ways.upstream.answers[method.encode()] = ODD[odd]
    assert await seen(ways, way, method) == await seen(ways, "direct", method)


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_several_messages_in_one_frame_pass(ways: Ways, way: str) -> None:
    ways.upstream.answers[ANY.encode()] = written(MESSAGE * 3, OK)
    assert await seen(ways, way, ANY) == await seen(ways, "direct", ANY)
