"""Requests in odd frames that are legal, or that gRPC servers accept anyway, pass as in a direct call."""

from collections.abc import Callable

import pytest

from tests.abuse.attack import literal
from tests.as_direct.caller import HandCaller, Outcome, request
from tests.as_direct.conftest import METHODS, Ways
from tests.as_direct.upstream import http_answer
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    frame,
    headers,
)

_QUESTION = b"\0\0\0\0\1q"
_DATA = frame(DATA, END_STREAM, 1, _QUESTION)
_UNKNOWN = 0x42
_PADDED, _WITH_PRIORITY = 8, 0x20
_INITIAL_WINDOW, _MAX_FRAME, _PUSH, _HEADER_LIST = 4, 5, 2, 6

Frames = Callable[[Fields], tuple[bytes, ...]]
"""Returns the frames to send for a request's header fields; see `HandCaller.said`."""


def block(fields: Fields) -> bytes:
    return b"".join(literal(key, value) for key, value in fields)


def begin(fields: Fields) -> bytes:
    return headers(1, fields)


def setting(number: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, number.to_bytes(2) + value.to_bytes(4))


def window(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4))


def in_pieces(fields: Fields) -> tuple[bytes, ...]:
    """HEADERS, and a CONTINUATION for every five further bytes."""
    whole = block(fields)
    pieces = [whole[at : at + 5] for at in range(0, len(whole), 5)]
    kinds = [HEADERS, *[CONTINUATION] * (len(pieces) - 1)]
    ends = [*[0] * (len(pieces) - 1), END_HEADERS]
    return (b"".join(frame(kind, end, 1, piece) for kind, end, piece in zip(kinds, ends, pieces, strict=True)) + _DATA,)


def with_priority(fields: Fields) -> tuple[bytes, ...]:
    flags = END_HEADERS | _WITH_PRIORITY
    return (frame(PRIORITY, 0, 3, bytes(4) + b"\5") * 200 + frame(HEADERS, flags, 1, bytes(5) + block(fields)) + _DATA,)


def plain(fields: Fields) -> tuple[bytes, ...]:
    return (begin(fields) + _DATA,)


ODD: dict[str, Frames] = {
    "CONTINUATION": in_pieces,
    "priorities": with_priority,
    "frames of an unknown kind": lambda fields: (
        frame(_UNKNOWN, 255, 0, b"x") * 50 + begin(fields) + frame(_UNKNOWN, 0, 1, b"y") + _DATA,
    ),
    "empty DATA frames": lambda fields: (begin(fields) + frame(DATA, 0, 1) * 20 + _DATA,),
    "single bytes and an empty end": lambda fields: (
        begin(fields) + b"".join(frame(DATA, 0, 1, bytes([each])) for each in _QUESTION) + frame(DATA, END_STREAM, 1),
    ),
    "SETTINGS in a row": lambda fields: (frame(SETTINGS, 0, 0) * 2000 + begin(fields) + _DATA,),
    "PING in a row": lambda fields: (frame(PING, 0, 0, bytes(8)) * 2000 + begin(fields) + _DATA,),
    "settings that nobody knows": lambda fields: (setting(0x1234, 1) + setting(_PUSH, 0) + begin(fields) + _DATA,),
    "room for large frames": lambda fields: (setting(_MAX_FRAME, (1 << 24) - 1) + begin(fields) + _DATA,),
    "room for few headers": lambda fields: (setting(_HEADER_LIST, 8192) + begin(fields) + _DATA,),
    "no window at first": lambda fields: (setting(_INITIAL_WINDOW, 0) + begin(fields) + _DATA, window(1, 1000)),
    "a window that opens by a few bytes": lambda fields: (
        setting(_INITIAL_WINDOW, 1) + begin(fields) + _DATA,
        *[window(1, 3)] * 5,
    ),
    "a window that shrinks": lambda fields: (
        begin(fields) + setting(_INITIAL_WINDOW, 0),
        _DATA,
        setting(_INITIAL_WINDOW, 65_535),
    ),
    "GOAWAY by the caller": lambda fields: (begin(fields) + frame(GOAWAY, 0, 0, bytes(8)), _DATA),
}
FIELDS: dict[str, Callable[[str], Fields]] = {
    "a content-type with a parameter": lambda method: request(method, content_type=b"application/grpc; charset=utf-8"),
    "a subtype and a parameter": lambda method: request(method, content_type=b"application/grpc+proto;a=b"),
    "HTTPS": lambda method: [pair if pair[0] != b":scheme" else (b":scheme", b"https") for pair in request(method)],
    "keys": lambda method: request(
        method, [(key, b"1") for key in (b"a.b", b"-", b"_", b"0", b"grpc-foo", b"x-forwarded-port", b"range")]
    ),
    "values": lambda method: request(
        method, [(b"k", b""), (b"k", b" a "), (b"k", b"v" * 100), (b"k-bin", b"AP8="), (b"k-bin", b"")]
    ),
    "what a library says of itself": lambda method: request(
        method, [(b"grpc-encoding", b"identity"), (b"accept-encoding", b"identity")]
    ),
}


async def outcome(ways: Ways, way: str, fields: Fields, frames: Frames) -> tuple[Outcome, bytes, Fields]:
    """The outcome of a call, and the bytes and metadata that upstream saw."""
    ways.upstream.seen.clear()
    caller = await HandCaller.connected(ways.port(way))
    found = await caller.said(*frames(fields))
    await caller.close()
    [arrived] = ways.upstream.seen
    assert arrived.ended
    ours = {b":scheme", b"content-type", b"grpc-encoding", b"grpc-timeout"}
    return (
        Outcome(found.code, found.details, (), (), found.messages, found.reset),
        bytes(arrived.data),
        sorted((key, value.strip(b" =")) for key, value in arrived.metadata if key not in ours),
    )


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_request_passes(ways: Ways, way: str, method: str, odd: str) -> None:
    fields = request(method)
    direct = (Outcome(0, messages=(b"answer",)), _QUESTION, [(b":path", method.encode())])
    assert await outcome(ways, way, fields, ODD[odd]) == direct


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("odd", FIELDS)
async def test_odd_fields_pass(ways: Ways, way: str, method: str, odd: str) -> None:
    fields = FIELDS[odd](method)
    assert await outcome(ways, way, fields, plain) == await outcome(ways, "direct", fields, plain)


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_method_with_a_question_mark_is_none(ways: Ways, way: str, method: str) -> None:
    """`UploadFile?a` names another method than `UploadFile`."""
    ways.upstream.answers[f"{method}?a=1".encode()] = http_answer(
        200, b"", b"application/grpc", [(b"grpc-status", b"12")]
    )
    caller = await HandCaller.connected(ways.port(way))
    assert (await caller.call(request(f"{method}?a=1"))).code == 12
    assert ways.upstream.at(method) == []
    await caller.close()
