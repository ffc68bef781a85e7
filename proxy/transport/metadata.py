"""Which metadata is passed on in each direction. Pure functions over pairs; order and duplicates are kept.

gRPC's core removes these before grpc.aio gets them: `te`, `content-type`, `grpc-timeout`, `grpc-encoding`,
`grpc-accept-encoding`, `grpc-message`, `grpc-status`, `grpc-trace-bin`, `grpc-tags-bin`. The caller's `user-agent` is
replaced, since the core writes one per channel.
"""

import re
from collections.abc import Iterable

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


class IllegalMetadataError(ValueError):
    """Metadata that gRPC's core refuses to send. The message names the key, never the value."""


def to_upstream(pairs: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """The request metadata for upstream. IllegalMetadataError if some of it cannot be sent."""
    kept = []
    for key, value in pairs:
        if not _passes(key):
            continue
        if not _legal(key, value):
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
        if not _passes(key):
            continue
        if _legal(key, value):
            kept.append((key, value))
        else:
            lost.append(key)
    return tuple(kept), tuple(lost)


def _passes(key: str) -> bool:
    return key not in _HOP_BY_HOP and not key.startswith(_INTERNAL)


def _legal(key: str, value: str | bytes) -> bool:
    """Whether gRPC's core will send the pair."""
    if not _KEY.fullmatch(key):
        return False
    if key.endswith("-bin"):
        return isinstance(value, bytes)
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None
