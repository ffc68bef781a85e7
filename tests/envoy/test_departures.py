"""A caller that left is noticed soon and with few queries, and its call is cancelled."""

import asyncio
from typing import Any

import pytest

from proxy.envoy.departures import Departures


class Time:
    """A clock that the test moves forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ticks: asyncio.Queue[None] = asyncio.Queue()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await self._ticks.get()
        self.now += seconds

    async def pass_by(self, ticks: int) -> None:
        for _ in range(ticks):
            self._ticks.put_nowait(None)
            for _ in range(5):
                await asyncio.sleep(0)


class Caller:
    def __init__(self) -> None:
        self.gone = False
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return {"type": "http.disconnect"} if self.gone else {"type": "http.request", "body": b"", "more_body": False}


async def test_a_call_is_cancelled_once_its_caller_is_gone() -> None:
    time, caller = Time(), Caller()
    departures = Departures(time, time.sleep)
    running = asyncio.create_task(departures.run())
    work = asyncio.create_task(asyncio.Event().wait())
    watched = departures.enter(caller, work)
    await time.pass_by(2)
    assert not work.cancelling()
    caller.gone = True
    await time.pass_by(5)
    with pytest.raises(asyncio.CancelledError):
        await work
    assert watched.gone
    running.cancel()
    await asyncio.wait([running])


async def test_questions_become_rare() -> None:
    time, caller = Time(), Caller()
    departures = Departures(time, time.sleep)
    running = asyncio.create_task(departures.run())
    work = asyncio.create_task(asyncio.Event().wait())
    departures.enter(caller, work)
    await time.pass_by(40)  # one second
    assert 4 <= caller.asked <= 7
    await time.pass_by(400)
    assert 20 <= caller.asked <= 30
    for task in (running, work):
        task.cancel()
    await asyncio.wait([running, work])


async def test_who_is_answered_is_asked_no_more_and_nobody_costs_nothing() -> None:
    time, caller = Time(), Caller()
    departures = Departures(time, time.sleep)
    running = asyncio.create_task(departures.run())
    task = asyncio.current_task()
    assert task is not None
    departures.leave(departures.enter(caller, task))
    await time.pass_by(3)
    assert caller.asked == 0
    assert time.now <= 0.025  # it sleeps at most once, then waits for a call
    running.cancel()
    await asyncio.wait([running])


async def test_an_answer_that_comes_while_the_question_is_asked_wins() -> None:
    time, asked, answer = Time(), asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        asked.set()
        await answer.wait()
        return {"type": "http.disconnect"}

    departures = Departures(time, time.sleep)
    running = asyncio.create_task(departures.run())
    work = asyncio.create_task(asyncio.Event().wait())
    watched = departures.enter(receive, work)
    await time.pass_by(2)
    assert asked.is_set()
    departures.leave(watched)
    answer.set()
    await time.pass_by(1)
    assert not watched.gone
    assert not work.cancelling()
    for each in (running, work):
        each.cancel()
    await asyncio.wait([running, work])


async def test_many_calls_are_asked_about_in_turn_and_few_at_a_time() -> None:
    time, callers = Time(), [Caller() for _ in range(100)]
    departures = Departures(time, time.sleep)
    running = asyncio.create_task(departures.run())
    task = asyncio.current_task()
    assert task is not None
    for caller in callers:
        departures.enter(caller, task)
    await time.pass_by(2)
    assert 8 <= sum(caller.asked for caller in callers) <= 16
    await time.pass_by(20)
    assert {caller.asked for caller in callers} <= {1, 2}
    running.cancel()
    await asyncio.wait([running])
