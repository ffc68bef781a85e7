import asyncio
import logging

import pytest

from proxy.telemetry.dependency import Dependency, State


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told() -> list[bool]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def redis(told: list[bool], clock: Clock) -> Dependency:
    return Dependency("redis", told.append, clock)


def test_it_is_down_until_it_is_heard_of(redis: Dependency, told: list[bool]) -> None:
    assert (told, redis.known) == ([False], False)


def test_the_first_connection_is_no_news(redis: Dependency, told: list[bool], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    redis.changed(True)
    assert (told, redis.known, caplog.records) == ([False, True], True, [])


def test_one_line_when_lost_and_one_when_back(
    redis: Dependency, told: list[bool], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    redis.changed(True)
    redis.changed(False, "connection refused")
    clock.now += 2
    redis.changed(False, "still refused")
    clock.now += 1.25
    redis.changed(True)
    redis.changed(True)
    assert told == [False, True, False, False, True, True]
    lines = [(record.levelname, record.getMessage(), record.__dict__["dependency"]) for record in caplog.records]
    assert lines == [
        ("WARNING", "redis lost: connection refused", "redis"),
        ("INFO", "redis is back after 3.2 s", "redis"),
    ]
    assert caplog.records[1].__dict__["away_seconds"] == 3.2


def test_away_from_the_start(redis: Dependency, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    redis.changed(False)
    clock.now += 10
    redis.changed(True)
    assert [record.getMessage() for record in caplog.records] == [
        "redis lost: unreachable",
        "redis is back after 10.0 s",
    ]
    assert redis.known


@pytest.mark.parametrize("up", [True, False])
async def test_the_first_news_can_be_waited_for(redis: Dependency, up: bool) -> None:
    waiter = asyncio.create_task(redis.first_heard())
    await asyncio.sleep(0)
    assert not waiter.done()
    redis.changed(up)
    await waiter
    await redis.first_heard()


def test_its_state_says_since_when_and_why_not(redis: Dependency, clock: Clock) -> None:
    assert redis.state == State(up=False, seconds=None)
    redis.changed(False, "connection refused")
    clock.now += 2
    redis.changed(False, "still refused")
    clock.now += 1
    assert redis.state == State(up=False, seconds=3.0, reason="still refused")
    redis.changed(True)
    clock.now += 5
    redis.changed(True)
    assert redis.state == State(up=True, seconds=5.0)
    redis.changed(False)
    assert redis.state == State(up=False, seconds=0.0, reason="unreachable")
