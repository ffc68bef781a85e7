"""Time limits on reading requests, which take no timer per call."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from proxy.transport.patience import Patience
from tests.support.servers.waiting import until

_T = TypeVar("_T")


@pytest.fixture
async def patience() -> Patience:
    return Patience(0.05)


async def _never() -> None:
    await asyncio.Event().wait()


async def _waited(patience: Patience, awaitable: Awaitable[_T]) -> _T:
    """Waits like a reader of requests; raises TimeoutError when the time is up."""
    task = patience.begin()
    try:
        return await awaitable
    except asyncio.CancelledError:
        if patience.over(task):
            raise TimeoutError from None
        raise
    finally:
        patience.end(task)


async def test_what_comes_in_time_is_passed_on(patience: Patience) -> None:
    assert await _waited(patience, asyncio.sleep(0, "x")) == "x"
    assert not patience._due


async def test_all_end_at_their_time_and_not_before(patience: Patience) -> None:
    loop = asyncio.get_running_loop()

    async def ended() -> float:
        begun = loop.time()
        with pytest.raises(TimeoutError):
            await _waited(patience, _never())
        return loop.time() - begun

    waits = []
    for _ in range(5):
        waits.append(asyncio.create_task(ended()))
        await asyncio.sleep(0.01)
    assert all(span >= 0.05 for span in await asyncio.gather(*waits))
    assert not patience._due
    assert not patience._expired


async def test_after_a_pause_it_looks_again(patience: Patience) -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await _waited(patience, _never())
        await until(lambda: patience._timer is None)


async def test_what_was_awaited_is_cancelled(patience: Patience) -> None:
    cancelled = asyncio.Event()

    async def told() -> None:
        try:
            await _never()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        await _waited(patience, told())
    assert cancelled.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(patience: Patience) -> None:
    task = asyncio.create_task(_waited(patience, _never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not patience._due


async def test_one_from_outside_in_the_same_turn_wins(patience: Patience) -> None:
    task = asyncio.create_task(_waited(patience, _never()))
    await asyncio.sleep(0)
    patience._due = dict.fromkeys(patience._due, 0.0)
    patience._look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
