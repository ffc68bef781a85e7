"""`Limits`: the limits for callers, as numbers. Options of gRPC's core enforce most of them, before Python runs.

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
    details=f"the proxy takes at most {_MOST_ENTRIES} entries of metadata, and MAX_METADATA_BYTES of it",
)


def clamped(timeout: float | None) -> float | None:
    """Seconds that a call has left, a year at the most; None: its caller set no deadline.

    Some libraries write "none" as the largest number they have, centuries from now, which gRPC's core takes for a
    deadline that has passed.
    """
    return None if timeout is None else min(timeout, _FARTHEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes. Each is a setting of nearly the same name."""

    calls_per_connection: int = 250
    """What a connection has more waits at its caller, who is told this number (RFC 9113, 5.1.2). A stream that was
    reset counts until Python has seen its end, so this is also what makes rapid resets harmless to others."""
    connections: int = 1000
    """Of callers, at once. One more is closed as it comes."""
    connection_age: float = 0.0
    """Seconds after which a caller is asked to connect anew, so that a balancer before several proxies sees it again.
    Its calls go on for as long as they take. 0: never."""
    metadata_bytes: int = 64 << 10
    """Of one request, as RFC 9113, 6.5.2 counts them: 32 more for each entry. More is RESOURCE_EXHAUSTED, and so are
    more than 256 entries, each of which costs us some microseconds, and upstream as much again."""
    message_bytes: int = 64 << 20
    """Of one request message, also once it is decompressed. More is RESOURCE_EXHAUSTED, before it has arrived."""
    bytes_in_flight: int = 128 << 20
    """Of messages above 64 KiB, uploads not counted, that are held at once; who comes with more is refused."""
    compressed: bool = False
    """Whether request messages may be compressed. Else such a call is UNIMPLEMENTED, as with any server that does not
    know the algorithm: 60 kB become 60 MiB before we can see it coming, and many calls at once many times that."""

    large_methods: frozenset[str] = frozenset()
    """Methods whose requests may have 50 MiB: they have memory of their own, and wait for it."""

    @classmethod
    def of(cls, settings: Settings, large_methods: frozenset[str]) -> Self:
        """What callers may use, whatever the transport."""
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

        gRPC's core does, as to the bytes, but late: meanwhile it hands us the call with what it had read until then,
        and that must not go upstream. Few entries cost too little to be counted for each call.
        """
        entries = len(metadata)
        if entries <= _FEW_ENTRIES:
            return False
        size = sum(len(key) + len(value) for key, value in metadata) + entries * _ENTRY_OVERHEAD
        return entries > _MOST_ENTRIES or size > self.metadata_bytes

    @property
    def server_options(self) -> tuple[tuple[str, int], ...]:
        """The channel arguments of the listener that keep these limits."""
        decompression = () if self.compressed else (("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),)
        age = (("grpc.max_connection_age_ms", round(self.connection_age * 1000)),) if self.connection_age else ()
        return (
            *decompression,
            *age,
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.calls_per_connection),
            # Streams that have ended for the caller but not yet for gRPC's core count against the above once they are
            # more than this. By default few may be: a caller with as many calls as it may have would see half of the
            # next ones refused (measured with grpcio 1.85).
            ("grpc.http2.max_deallocating_streams", self.calls_per_connection),
            ("grpc.max_receive_message_length", self.message_bytes),
            # Between the soft limit (by default 8 KiB) and the hard one (16 KiB) calls fail at random: leave no gap.
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes),
        )
