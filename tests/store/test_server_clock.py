"""A server's clock as measured by pings, of which the quickest counts."""

import pytest

from proxy.store.server_clock import ServerClock

TRUE_MS = 1_700_000_000_000.0
"""The server's time when this process' clock is 0."""


def _at(clock: ServerClock, begun: float, out: float, back: float) -> None:
    """A ping that takes `out` seconds to the server and `back` seconds from it."""
    clock.pinged(TRUE_MS + (begun + out) * 1000, begun, begun + out + back)


def _error(clock: ServerClock, now: float) -> float:
    return clock.now_ms(now) - (TRUE_MS + now * 1000)


@pytest.mark.parametrize(("out", "back"), [(0.0, 0.008), (0.008, 0.0), (0.004, 0.004), (0.0, 1.5)])
def test_it_is_wrong_by_half_of_the_round_trip_at_most(out: float, back: float) -> None:
    clock = ServerClock()
    _at(clock, 10.0, out, back)
    assert abs(_error(clock, 10.0)) <= clock.error_ms(10.0 + out + back) + 1e-3
    assert clock.error_ms(10.0 + out + back) == pytest.approx((out + back) * 500)


def test_a_slow_ping_does_not_replace_what_a_quick_one_said() -> None:
    clock = ServerClock()
    _at(clock, 0.0, 0.0005, 0.0005)
    _at(clock, 1.0, 0.0, 1.9)
    assert abs(_error(clock, 3.0)) < 0.01


def test_a_quicker_one_does() -> None:
    clock = ServerClock()
    _at(clock, 0.0, 0.0, 1.9)
    _at(clock, 2.0, 0.0005, 0.0005)
    assert abs(_error(clock, 3.0)) < 0.01


def test_one_that_is_a_little_slower_does_once_the_clocks_may_have_drifted() -> None:
    clock = ServerClock()
    _at(clock, 0.0, 0.0, 0.0)
    assert clock.error_ms(100.0) == pytest.approx(50.0)
    clock.pinged(TRUE_MS + 100_020.0, 100.0, 100.01)
    assert _error(clock, 100.0) == pytest.approx(15.0)


@pytest.mark.parametrize("jump_ms", [-3_600_000.0, 5000.0])
def test_a_clock_that_was_set_is_noticed_by_any_ping(jump_ms: float) -> None:
    clock = ServerClock()
    _at(clock, 0.0, 0.0005, 0.0005)
    clock.pinged(TRUE_MS + jump_ms + 1000, 1.0, 2.0)
    assert abs(_error(clock, 2.0) - jump_ms) <= 500


def test_another_server_is_believed_at_once() -> None:
    clock = ServerClock()
    _at(clock, 0.0, 0.0, 0.0)
    clock.forget()
    clock.pinged(TRUE_MS + 1400, 1.0, 2.0)
    assert _error(clock, 2.0) == pytest.approx(-100.0)
