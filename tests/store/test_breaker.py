"""Each rule of the breaker, with times passed in."""

from proxy.store.breaker import SLOW, Breaker


def _closed() -> Breaker:
    breaker = Breaker()
    assert breaker.pinged(0.001)
    return breaker


def _answered(breaker: Breaker, seconds: float, times: int) -> list[bool]:
    return [breaker.answered(seconds) for _ in range(times)]


def test_it_starts_open_and_the_first_quick_ping_closes_it() -> None:
    breaker = Breaker()
    before = (breaker.closed, breaker.reason)
    assert breaker.pinged(0.001)
    assert [before, (breaker.closed, breaker.reason)] == [(False, "not connected yet"), (True, "")]


def test_a_slow_ping_closes_nothing() -> None:
    breaker = Breaker()
    assert not breaker.pinged(SLOW * 1.01)
    assert not breaker.closed
    assert breaker.pinged(SLOW)


def test_a_ping_while_it_is_closed_changes_nothing() -> None:
    assert not _closed().pinged(0.001)


def test_one_failure_opens_it_and_is_told_once() -> None:
    breaker = _closed()
    assert breaker.failed("away")
    assert not breaker.closed
    assert breaker.reason == "away"
    assert not breaker.failed("still away")
    assert breaker.reason == "away"
    assert breaker.pinged(0.001)


def test_answers_close_nothing() -> None:
    breaker = _closed()
    breaker.failed("away")
    assert not any(_answered(breaker, 0.001, 100))
    assert not breaker.closed


def test_the_answer_that_makes_more_than_half_of_32_slow_opens_it() -> None:
    breaker = _closed()
    assert _answered(breaker, SLOW * 2, 17) == [False] * 16 + [True]
    assert not breaker.closed
    assert "slow" in breaker.reason


def test_half_is_not_more_than_half() -> None:
    breaker = _closed()
    for _ in range(100):
        assert _answered(breaker, SLOW * 2, 1) + _answered(breaker, 0.001, 1) == [False, False]
    assert breaker.closed


def test_only_the_last_32_count() -> None:
    breaker = _closed()
    assert not any(_answered(breaker, SLOW * 2, 16))
    assert not any(_answered(breaker, 0.001, 32))
    assert not any(_answered(breaker, SLOW * 2, 16))
    assert breaker.answered(SLOW * 2)


def test_an_answer_at_the_limit_is_not_slow() -> None:
    breaker = _closed()
    assert not any(_answered(breaker, SLOW, 100))


def test_closing_forgets_what_was_slow_before() -> None:
    breaker = _closed()
    _answered(breaker, SLOW * 2, 17)
    assert breaker.pinged(0.001)
    assert not any(_answered(breaker, SLOW * 2, 16))
    assert breaker.answered(SLOW * 2)
