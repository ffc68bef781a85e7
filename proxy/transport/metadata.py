"""Which metadata is passed on in each direction. Pure functions over pairs; order and duplicates are kept.

gRPC's core removes these before grpc.aio gets them: `te`, `content-type`, `grpc-timeout`, `grpc-encoding`,
`grpc-accept-encoding`, `grpc-message`, `grpc-status`, `grpc-trace-bin`, `grpc-tags-bin`. The caller's `user-agent` is
replaced, since the core writes one per channel.
"""

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from proxy.calls.call import Metadata

_HOP_BY_HOP = frozenset(
    {
        # RFC 9113, 8.2.2: they describe one connection.
        *("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings", "te"),
        *("trailer", "host", "content-type", "content-length"),
        # They describe one message of one connection, or one attempt.
        *("grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-message", "grpc-status"),
        # For the load balancer between the ends of one connection.
        *("lb-token", "lb-cost-bin"),
        "user-agent",
    }
)
_INTERNAL = "grpc-internal-"

# gRPC over HTTP/2, "Custom-Metadata": https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[ -~]*")

_KEPT_KEYS = 512
"""Keys whose kind is remembered: more than real calls use, but few enough for keys that callers make up."""


class _Kind(Enum):
    """What a key says about its pair."""

    DROPPED = "dropped"
    ILLEGAL = "illegal"
    TEXT = "text"
    BINARY = "binary"


class IllegalMetadataError(ValueError):
    """Metadata that gRPC's core refuses to send. The message names the key, never the value."""


def to_upstream(pairs: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """The request metadata for upstream. IllegalMetadataError if some of it cannot be sent."""
    kept = []
    for key, value in pairs:
        kind = _kind(key)
        if kind is _Kind.DROPPED:
            continue
        if not _legal(kind, value):
            raise IllegalMetadataError(f"request metadata {key!r} cannot be forwarded: not legal in gRPC")
        kept.append((key, value))
    return tuple(kept)


def to_caller(pairs: Iterable[tuple[str, str | bytes]] | None) -> tuple[Metadata, tuple[str, ...]]:
    """The response metadata for the caller, and the keys of the pairs that cannot be sent.

    Those are left out: the call has taken effect, and its answer must not be lost because of them.
    """
    if not pairs:
        return (), ()
    kept, lost = [], []
    for key, value in pairs:
        kind = _kind(key)
        if kind is _Kind.DROPPED:
            continue
        if _legal(kind, value):
            kept.append((key, value))
        else:
            lost.append(key)
    return tuple(kept), tuple(lost)


@lru_cache(maxsize=_KEPT_KEYS)
def _kind(key: str) -> _Kind:
    if key in _HOP_BY_HOP or key.startswith(_INTERNAL):
        return _Kind.DROPPED
    if not _KEY.fullmatch(key):
        return _Kind.ILLEGAL
    return _Kind.BINARY if key.endswith("-bin") else _Kind.TEXT


def _legal(kind: _Kind, value: str | bytes) -> bool:
    """Whether gRPC's core will send the pair."""
    if kind is _Kind.TEXT:
        return isinstance(value, str) and _TEXT.fullmatch(value) is not None
    return kind is _Kind.BINARY and isinstance(value, bytes)
