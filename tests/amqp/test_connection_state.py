"""RabbitMQ as operators see it: one line per change, the reason while it is lost, other trouble while it is up."""

import logging

import pytest

from proxy.amqp.connection_state import ConnectionState
from tests.support.amqp import FakeObserver


@pytest.fixture
def seen() -> FakeObserver:
    return FakeObserver()


@pytest.fixture
def presence(seen: FakeObserver) -> ConnectionState:
    return ConnectionState(seen, ["ours"])


def test_nothing_is_known_at_first(presence: ConnectionState, seen: FakeObserver) -> None:
    assert not presence.known
    assert not presence.up
    assert presence.state("").seconds is None
    assert seen.ups == []


def test_attempts_that_fail_are_one_line_and_the_last_reason(
    presence: ConnectionState, seen: FakeObserver, caplog: pytest.LogCaptureFixture
) -> None:
    presence.lost("refused")
    presence.lost("no such vhost")
    assert [record.getMessage() for record in caplog.records] == ["RabbitMQ lost: refused"]
    assert presence.state("").reason == "no such vhost"
    assert (presence.known, presence.up, seen.ups) == (True, False, [False])


def test_it_says_for_how_long_it_was_away(
    presence: ConnectionState, seen: FakeObserver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        presence.back()
        presence.lost("refused")
        presence.back()
    assert caplog.records[0].getMessage() == "consuming media events"
    assert caplog.records[-1].getMessage().startswith("RabbitMQ is back after 0.")
    assert seen.ups == [True, False, True]


def test_what_is_wrong_while_it_is_there_is_a_reason_too(presence: ConnectionState) -> None:
    presence.back()
    assert presence.state("").reason == ""
    state = presence.state("no event follows")
    assert state.up
    assert state.reason == "no event follows"
    presence.lost("refused")
    assert presence.state("no event follows").reason == "refused"
