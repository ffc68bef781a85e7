"""The budget is never exceeded, requests are served in order, and a cancellation loses no bytes."""

import asyncio

import pytest

from proxy.transport.byte_budget import ByteBudget


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_left_is_given_at_once_and_the_rest_waits_in_order() -> None:
    budget, order = ByteBudget(10), list[str]()

    async def take(name: str, size: int) -> None:
        await budget.take(size)
        order.append(name)

    await budget.take(6)
    async with asyncio.TaskGroup() as tasks:
        for name, size in (("large", 8), ("small", 1), ("next", 3)):
            tasks.create_task(take(name, size))
        await settle()
        assert order == []  # the small one does not overtake
        budget.give(6)
        await settle()
        assert (order, budget.left) == (["large", "small"], 1)
        budget.give(8)
    assert (order, budget.left) == (["large", "small", "next"], 6)


async def test_holding_more_than_was_taken_is_made_up_for() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    budget.give(10 - 15)
    assert budget.left == -5
    waiting = asyncio.create_task(budget.take(1))
    await settle()
    budget.give(5)
    await settle()
    assert not waiting.done()
    budget.give(10)
    await waiting
    assert budget.left == 9


async def test_a_cancelled_wait_takes_nothing_and_lets_the_next_one_pass() -> None:
    budget = ByteBudget(10)
    await budget.take(6)
    first, second = asyncio.create_task(budget.take(8)), asyncio.create_task(budget.take(4))
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert budget.left == 0


async def test_a_grant_that_meets_a_cancellation_is_given_back() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    waiting = asyncio.create_task(budget.take(10))
    await settle()
    budget.give(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.left == 10


async def test_a_cancellation_that_meets_a_grant_takes_nothing() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    waiting = asyncio.create_task(budget.take(10))
    await settle()
    waiting.cancel()
    budget.give(10)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.left == 10


async def test_it_tells_whether_somebody_waits() -> None:
    budget, told = ByteBudget(10), list[bool]()
    await budget.take(6)
    told.append(budget.waited_for)
    waiting = asyncio.create_task(budget.take(8))
    await settle()
    told.append(budget.waited_for)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    told.append(budget.waited_for)
    assert told == [False, True, False]
