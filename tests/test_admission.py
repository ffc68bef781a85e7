"""proxy.transport.admission: the limit, and when the proxy is idle. The clock is the test's own."""

import asyncio
from collections.abc import Callable

from proxy.transport.admission import Admission


class Clock:
    """Time that passes only in `sleep`, and what happens meanwhile."""

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


def test_as_many_as_allowed_enter_and_leaving_makes_room() -> None:
    admission = Admission(2)
    assert [admission.enter() for _ in range(3)] == [True, True, False]
    assert admission.in_progress == 2
    admission.leave()
    assert [admission.enter(), admission.enter()] == [True, False]


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
        assert admission.enter()
        admission.leave()

    clock.meanwhile = [short_call]
    await admission.idle(2.0)
    assert clock.slept == [2.0, 1.0]


async def test_a_call_in_progress_is_waited_for_and_then_the_pause() -> None:
    clock = Clock()
    admission = Admission(2, clock, clock.sleep)
    admission.enter()
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
    clock.meanwhile = [admission.enter]
    idle = asyncio.create_task(admission.idle(2.0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not idle.done()
    clock.now += 50
    admission.leave()
    await idle
    assert clock.slept == [2.0, 2.0]
