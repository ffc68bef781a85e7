"""`Limits`: the limits for callers, as numbers. Options of gRPC's core enforce most of them before Python runs.

docs/reliability.md says what each of them prevents, with figures.
"""

from dataclasses import dataclass
from typing import Self

from grpc import StatusCode

from proxy.calls.call import Metadata, Reply
from proxy.settings.config import Settings

_MOST_ENTRIES = 256
_FEW_ENTRIES = 16
_ENTRY_OVERHEAD = 32
_IDENTITY_ONLY = 1
_FARTHEST = 365 * 86400.0
TOO_MUCH_METADATA = Reply(
    code=StatusCode.RESOURCE_EXHAUSTED,
    limit="MAX_METADATA_BYTES",
    details=f"the proxy accepts at most {_MOST_ENTRIES} entries and MAX_METADATA_BYTES bytes of metadata",
)


def clamped(timeout: float | None) -> float | None:
    """Limits the seconds that a call has left to a year; None means that its caller set no deadline.

    Some libraries express "no deadline" by their largest number, centuries from now, which gRPC's core mistakes for a
    deadline that has passed.
    """
    return None if timeout is None else min(timeout, _FARTHEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one listener; sizes are in bytes. Each is a setting of nearly the same name."""

    calls_per_connection: int = 250
    """Maximum calls at once on a connection. The caller is told this number and keeps further calls back (RFC 9113,
    5.1.2). A reset stream counts until Python has seen its end, so this also makes rapid resets harmless to others."""
    connections: int = 1000
    """Maximum connections of callers at once. A further one is closed on arrival."""
    connection_age: float = 0.0
    """Seconds after which a caller is asked to reconnect, so that a load balancer in front of several proxies can
    choose again. Its calls continue until they end. 0: never."""
    metadata_bytes: int = 64 << 10
    """Maximum metadata of one request, counted as in RFC 9113, 6.5.2: 32 bytes more for each entry. More of it is
    RESOURCE_EXHAUSTED, and so are more than 256 entries, since each costs some microseconds here and again upstream."""
    message_bytes: int = 64 << 20
    """Maximum size of one request message, compressed or not. A larger one is RESOURCE_EXHAUSTED before it arrives."""
    bytes_in_flight: int = 128 << 20
    """Maximum size of all messages above 64 KiB in memory at once, without uploads; further ones are refused."""
    compressed: bool = False
    """Whether request messages may be compressed. If not, such a call is UNIMPLEMENTED, as with any server that does
    not know the algorithm. 60 kB may become 60 MiB before the size can be checked, and many times that with many
    calls."""

    large_methods: frozenset[str] = frozenset()
    """Methods whose requests may have 50 MiB: they have their own memory budget, and wait for it."""

    @classmethod
    def of(cls, settings: Settings, large_methods: frozenset[str]) -> Self:
        """The limits that the settings say, for both transports."""
        return cls(
            calls_per_connection=settings.max_calls_per_connection,
            connections=settings.max_connections,
            connection_age=settings.max_connection_age,
            metadata_bytes=settings.max_metadata_bytes,
            message_bytes=settings.max_message_bytes,
            bytes_in_flight=settings.max_bytes_in_flight,
            compressed=settings.accept_compressed == "on",
            large_methods=large_methods,
        )

    def too_much(self, metadata: Metadata) -> bool:
        """Whether to refuse a call with this metadata.

        gRPC's core enforces the number of bytes too, but late: it passes on the call with the metadata read so far,
        which must not go upstream. Up to 16 entries cost too little to be counted for each call.
        """
        entries = len(metadata)
        if entries <= _FEW_ENTRIES:
            return False
        size = sum(len(key) + len(value) for key, value in metadata) + entries * _ENTRY_OVERHEAD
        return entries > _MOST_ENTRIES or size > self.metadata_bytes

    @property
    def server_options(self) -> tuple[tuple[str, int], ...]:
        """The channel arguments of the listener that enforce these limits."""
        decompression = () if self.compressed else (("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),)
        age = (("grpc.max_connection_age_ms", round(self.connection_age * 1000)),) if self.connection_age else ()
        return (
            *decompression,
            *age,
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.calls_per_connection),
            # Streams that have ended for the caller but not yet for gRPC's core count against the limit above if there
            # are more than this. With the small default, half of the calls that follow a full connection's calls would
            # be refused (measured with grpcio 1.85).
            ("grpc.http2.max_deallocating_streams", self.calls_per_connection),
            ("grpc.max_receive_message_length", self.message_bytes),
            # Between the soft limit (8 KiB by default) and the hard one (16 KiB) calls fail at random, so both are
            # equal.
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes),
        )
