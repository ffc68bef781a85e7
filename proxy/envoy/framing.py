"""gRPC over HTTP/2, server side: reading headers and bodies, and writing an outcome. Pure.

The rules: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and doc/compression.md beside it.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from grpc import StatusCode

from proxy.calls.call import Metadata, Reply
from proxy.envoy.listener import FORWARDED_PROTO
from proxy.transport.layers import NO_REQUEST
from proxy.transport.limits import Limits, clamped

Headers = list[tuple[bytes, bytes]]

_PROTO = "x-forwarded-proto"
PREFIX = 5
"""Length in bytes of the prefix of each message, which says whether it is compressed and how long it is."""
_ENCODINGS = {b"": 0, b"identity": 0, b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
"""The `wbits` of zlib for each encoding; 0 means no compression."""
_NOT_METADATA = frozenset(
    {
        *(b"host", b"te", b"content-type", b"content-length", b"connection"),
        *(b"grpc-accept-encoding", b"grpc-message", b"grpc-status", b"grpc-message-type"),
        _PROTO.encode(),  # the one that Envoy adds
    }
)
_CALLERS_PROTO = FORWARDED_PROTO.encode()
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNESCAPED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_CONTENT_TYPE = (b"content-type", b"application/grpc")


@dataclass(slots=True)
class Head:
    """What a request's headers say."""

    metadata: Metadata
    timeout: float | None = None
    """In seconds; None if the caller set no deadline."""
    encoding: bytes = b""
    """The encoding of messages that are marked as compressed."""


def head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Reads lower-case headers without pseudo-headers. Raises ValueError if the value of a `-bin` key is not base64."""
    metadata: list[tuple[str, str | bytes]] = []
    timeout, encoding = None, b""
    for name, value in headers:
        if name in _NOT_METADATA:
            continue
        if name == b"grpc-timeout":
            timeout = clamped(_seconds(value))
        elif name == _CALLERS_PROTO:
            metadata.append((_PROTO, value.decode("latin-1")))
        elif name == b"grpc-encoding":
            encoding = value
        elif name.endswith(b"-bin"):
            # Several values of one key may arrive joined by commas, which base64 does not use.
            metadata.extend((name.decode(), _decoded(each)) for each in value.split(b","))
        else:
            metadata.append((name.decode(), value.decode("latin-1")))
    return Head(tuple(metadata), timeout, encoding)


def message(prefix: bytes, data: bytes, encoding: bytes, limits: Limits) -> bytes | Reply:
    """The one message of a request of `prefix` (PREFIX bytes) and `data`, or the reply that ends the call."""
    if len(prefix) < PREFIX:
        return _malformed("ends inside a message") if prefix else NO_REQUEST
    if len(data) > length(prefix):
        return NO_REQUEST
    if len(data) < length(prefix):
        return _malformed("ends inside a message")
    if not prefix[0]:
        return data
    return _inflated(data, encoding, limits) if prefix[0] == 1 else _malformed("has a message with unknown flags")


def is_whole(event: Mapping[str, Any]) -> bool:
    """Whether an ASGI event is a complete request of exactly one uncompressed message."""
    if event["type"] != "http.request" or event["more_body"]:
        return False
    body = event["body"]
    return len(body) >= PREFIX and not body[0] and int.from_bytes(body[1:PREFIX]) == len(body) - PREFIX


def length(prefix: bytes) -> int:
    """The length in bytes of the message after this prefix."""
    return int.from_bytes(prefix[1:PREFIX])


def too_large(size: int, limits: Limits) -> Reply | None:
    """The reply to a call with a message of `size` bytes if that exceeds the limit."""
    if size <= limits.message_bytes:
        return None
    details = f"the proxy accepts request messages of at most {limits.message_bytes} bytes (MAX_MESSAGE_BYTES)"
    return Reply(code=StatusCode.RESOURCE_EXHAUSTED, details=details, limit="MAX_MESSAGE_BYTES")


def unsupported(encoding: bytes, limits: Limits) -> Reply | None:
    """The reply to a call with this encoding if it is not accepted."""
    if encoding in _ENCODINGS and (limits.compressed or not _ENCODINGS[encoding]):
        return None
    accepted = "identity,deflate,gzip" if limits.compressed else "identity"
    name = encoding.decode("latin-1")[:64]
    details = f"grpc-encoding {name!r} is not supported; accepted: {accepted}"
    return Reply(
        code=StatusCode.UNIMPLEMENTED,
        details=details,
        trailing_metadata=(("grpc-accept-encoding", accepted),),
        limit="ACCEPT_COMPRESSED",
    )


def framed(body: bytes) -> bytes:
    """A message with its prefix, uncompressed."""
    return b"\x00" + len(body).to_bytes(4) + body


def initial(metadata: Metadata) -> Headers:
    """The headers before a message."""
    return [_CONTENT_TYPE, *_encoded(metadata)]


def trailers(reply: Reply) -> Headers:
    """The trailers that end a call."""
    status: Headers = [(b"grpc-status", b"%d" % reply.code.value[0])]
    if reply.details:
        status.append((b"grpc-message", quote(reply.details, safe=_UNESCAPED).encode()))
    return status + _encoded(reply.trailing_metadata)


def trailers_only(reply: Reply) -> Headers:
    """The headers that end a call with neither initial metadata nor a message."""
    return [_CONTENT_TYPE, *trailers(reply)]


def _encoded(metadata: Metadata) -> Headers:
    return [
        (key.encode(), value.encode("latin-1") if isinstance(value, str) else base64.b64encode(value).rstrip(b"="))
        for key, value in metadata
    ]


def _decoded(value: bytes) -> bytes:
    try:
        return base64.b64decode(value.strip() + b"=" * (-len(value.strip()) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("request metadata with a name ending in -bin is not base64") from error


def _seconds(value: bytes) -> float | None:
    parts = _TIMEOUT.fullmatch(value)
    return int(parts[1]) * _UNITS[parts[2]] if parts else None


def _inflated(data: bytes, encoding: bytes, limits: Limits) -> bytes | Reply:
    wbits = _ENCODINGS[encoding]
    if not wbits:
        return _malformed("has a compressed message and names no grpc-encoding")
    inflate = zlib.decompressobj(wbits)
    try:
        body = inflate.decompress(data, limits.message_bytes + 1)
    except zlib.error:
        return _malformed("has a message that cannot be decompressed")
    if refused := too_large(len(body), limits):
        return refused
    if not inflate.eof or inflate.unused_data:
        return _malformed("has a message that cannot be decompressed")
    return body


def _malformed(how: str) -> Reply:
    return Reply(code=StatusCode.INTERNAL, details=f"the request {how}")
