"""Which metadata is too much, and that gRPC's core gets the limits; tests/abuse has their effect."""

import pytest

from proxy.settings.config import Settings
from proxy.transport.limits import Limits


@pytest.mark.parametrize(
    ("entries", "size", "refused"),
    [
        (256, 4, False),
        (257, 4, True),
        (17, 3800, False),
        (17, 4000, True),  # what the core passes on of a larger request
        (16, 5000, False),  # left to the core
    ],
)
def test_metadata_of_too_many_entries_or_bytes_is_too_much(entries: int, size: int, refused: bool) -> None:
    metadata = tuple((f"k{number}", "v" * size) for number in range(entries))
    assert Limits().too_much(metadata) is refused


def test_the_overhead_of_an_entry_counts() -> None:
    metadata = (("k", "v"),) * 100
    assert Limits(metadata_bytes=3400).too_much(metadata) is False
    assert Limits(metadata_bytes=3399).too_much(metadata) is True


def test_the_core_is_told_without_a_gap_between_the_limits_of_metadata() -> None:
    options = dict(Limits(calls_per_connection=7, metadata_bytes=9000, message_bytes=11).server_options)
    assert options == {
        "grpc.compression_enabled_algorithms_bitset": 1,
        "grpc.max_concurrent_streams": 7,
        "grpc.http2.max_deallocating_streams": 7,
        "grpc.max_allowed_incoming_connections": 1000,
        "grpc.max_receive_message_length": 11,
        "grpc.max_metadata_size": 9000,
        "grpc.absolute_max_metadata_size": 9000,
    }


def test_the_defaults_are_those_of_the_settings() -> None:
    settings, limits = Settings(), Limits()
    assert limits == Limits(
        calls_per_connection=settings.max_calls_per_connection,
        connections=settings.max_connections,
        connection_age=settings.max_connection_age,
        metadata_bytes=settings.max_metadata_bytes,
        message_bytes=settings.max_message_bytes,
        bytes_in_flight=settings.max_bytes_in_flight,
        compressed=settings.accept_compressed == "on",
    )
