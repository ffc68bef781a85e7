"""The invalidations that a deposed master confirmed are known when its successor is there."""

import pytest

from proxy.caching import confirmed
from proxy.caching.confirmed import Confirmation, Confirmed
from proxy.caching.held import Intent
from proxy.policy.builtin.model import Model

USER, OTHER = Model.of("User", 1), Model.of("User", 2)


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def lately(clock: _Clock) -> Confirmed:
    return Confirmed(clock)


def _models(lately: Confirmed, since: float) -> list[str] | None:
    found = lately.since(since)
    return None if found is None else [model for model, _ in found]


def _only(lately: Confirmed, clock: _Clock) -> Confirmation:
    found = lately.since(clock.now)
    assert found is not None
    ((_, confirmation),) = found
    return confirmation


def test_all_of_the_last_minute_however_sure_the_master_was(lately: Confirmed, clock: _Clock) -> None:
    lately.invalidated(USER)
    clock.now += 30
    lately.invalidated(OTHER)
    assert _models(lately, clock.now) == [USER, OTHER]
    clock.now += 40
    assert _models(lately, clock.now) == [OTHER]


def test_all_since_it_was_sure(lately: Confirmed, clock: _Clock) -> None:
    lately.invalidated(USER)
    clock.now += 300
    assert _models(lately, 999.0) == [USER]
    assert _models(lately, 1001.0) == []


def test_what_is_long_ago_is_forgotten_and_said_to_be(lately: Confirmed, clock: _Clock) -> None:
    lately.invalidated(USER)
    clock.now += 601
    lately.invalidated(OTHER)
    assert _models(lately, 1000.0) is None
    assert _models(lately, 1001.0) == [OTHER]


def test_too_many_are_forgotten(lately: Confirmed, clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmed, "MOST_HELD", 2)
    for number in range(3):
        lately.invalidated(Model.of("User", number))
    assert _models(lately, clock.now) is None
    clock.now += 61
    assert _models(lately, clock.now) == []


def test_a_flush_is_to_be_done_again(lately: Confirmed, clock: _Clock) -> None:
    lately.flushed()
    assert _models(lately, clock.now) is None
    clock.now += 61
    assert _models(lately, clock.now) == []


def test_an_intent_stands_until_it_is_cleared(lately: Confirmed, clock: _Clock) -> None:
    first, second = Intent(b"1", clock.now + 50), Intent(b"2", clock.now + 50)
    lately.invalidated(USER, intents=(first,))
    lately.invalidated(USER, intents=(second,), window_ms=100)
    known = _only(lately, clock)
    assert list(known.orders()) == [first, second]
    assert known.window_ms == 100
    lately.invalidated(USER, intents=(Intent(b"1", clock.now - 1),))
    known = _only(lately, clock)
    assert list(known.orders()) == [second]
    clock.now += 51
    lately.invalidated(USER)
    known = _only(lately, clock)
    assert list(known.orders()) == [None]
