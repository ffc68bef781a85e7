"""Which messages are counted and refused; tests/transport/test_server_limits.py has the effect on calls."""

import pytest
from grpc import StatusCode

from proxy.transport.large_messages import LARGE, LargeMessages, TooManyBytesError


def test_small_messages_do_not_count() -> None:
    large = LargeMessages(LARGE)
    assert [large.take(bytes(LARGE)) for _ in range(100)] == [0] * 100
    assert large.left == LARGE


def test_what_does_not_fit_is_refused_and_what_is_given_back_can_be_taken() -> None:
    large = LargeMessages(3 * LARGE)
    held = large.take(bytes(2 * LARGE))
    assert held == 2 * LARGE
    with pytest.raises(TooManyBytesError):
        large.take(bytes(LARGE + 1))
    large.give(held)
    assert large.take(bytes(3 * LARGE)) == 3 * LARGE
    assert large.left == 0


def test_the_refusal_names_the_setting() -> None:
    refusal = LargeMessages(1 << 20).refusal
    assert refusal.code is StatusCode.RESOURCE_EXHAUSTED
    assert refusal.details == "the proxy holds at most 1048576 bytes of large messages at once (MAX_BYTES_IN_FLIGHT)"
