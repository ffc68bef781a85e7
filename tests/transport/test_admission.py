"""The limit on calls at once, and when the proxy is idle. The clock is the test's own."""

import asyncio
from collections.abc import Callable

from proxy.transport.admission import COMMON, Admission


class Clock:
    """A clock that advances only in `sleep`, and what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.meanwhile: list[Callable[[], object]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.meanwhile:
            self.now += seconds / 2
            self.meanwhile.pop(0)()
            self.now += seconds / 2
        else:
            self.now += seconds
        await asyncio.sleep(0)


def one() -> str:
    """The connection of all calls, for tests in which it does not matter."""
    return "one"


def test_as_many_as_allowed_enter_and_leaving_makes_room() -> None:
    admission = Admission(2)
    assert [admission.enter(one) for _ in range(3)] == [COMMON, COMMON, None]
    assert admission.in_progress == 2
    admission.leave()
    assert [admission.enter(one), admission.enter(one)] == [COMMON, None]


def entered(admission: Admission, peer: str, calls: int = 1) -> int:
    return sum(admission.enter(lambda: peer) is not None for _ in range(calls))


def test_a_connection_that_takes_all_it_can_get_leaves_places_for_others() -> None:
    admission = Admission(1000)
    assert entered(admission, "greedy", 5000) == 900 + 9
    assert entered(admission, "other", 50) == 8  # a tenth of the places left
    assert entered(admission, "third", 1) == 1


def test_the_reserve_is_shared_by_more_connections_than_it_would_take_to_fill_it_evenly() -> None:
    admission = Admission(1000)
    for _ in range(100):
        for peer in range(50):
            entered(admission, f"greedy {peer}")
    assert admission.in_progress < 1000
    assert entered(admission, "other") == 1


def test_no_call_enters_above_the_limit_whoever_makes_it() -> None:
    admission = Admission(100)
    assert sum(entered(admission, str(peer)) for peer in range(200)) == 100
    assert admission.in_progress == 100


def test_what_a_connection_gives_back_of_the_reserve_it_may_take_again() -> None:
    admission = Admission(1000)
    taken = entered(admission, "greedy", 5000)
    for _ in range(3):
        admission.leave("greedy")
    assert entered(admission, "greedy", 5000) == 3
    for _ in range(9):
        admission.leave("greedy")
    for _ in range(taken - 9):
        admission.leave()
    assert admission.in_progress == 0
    assert not admission._reserved


def test_who_calls_is_not_asked_before_the_reserve() -> None:
    def unasked() -> str:
        raise AssertionError

    admission = Admission(10)
    assert [admission.enter(unasked) for _ in range(9)] == [COMMON] * 9


async def test_idle_waits_from_now_on_even_if_there_was_no_call_for_long() -> None:
    clock = Clock()
    admission = Admission(2, clock, clock.sleep)
    clock.now += 1000
    await admission.idle(2.0)
    assert clock.slept == [2.0]


async def test_a_call_that_arrives_meanwhile_starts_the_wait_anew() -> None:
    clock = Clock()
    admission = Admission(2, clock, clock.sleep)

    def short_call() -> None:
        assert admission.enter(one) == COMMON
        admission.leave()

    clock.meanwhile = [short_call]
    await admission.idle(2.0)
    assert clock.slept == [2.0, 1.0]


async def test_a_call_in_progress_is_waited_for_and_then_the_pause() -> None:
    clock = Clock()
    admission = Admission(2, clock, clock.sleep)
    admission.enter(one)
    idle = asyncio.create_task(admission.idle(2.0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert clock.slept == []
    clock.now += 50
    admission.leave()
    await idle
    assert clock.slept == [2.0]


async def test_a_call_that_arrived_during_the_pause_and_stays_is_waited_for() -> None:
    clock = Clock()
    admission = Admission(2, clock, clock.sleep)
    clock.meanwhile = [lambda: admission.enter(one)]
    idle = asyncio.create_task(admission.idle(2.0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not idle.done()
    clock.now += 50
    admission.leave()
    await idle
    assert clock.slept == [2.0, 2.0]
