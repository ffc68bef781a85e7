"""Time limits on reading requests, which take no timer per call."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from proxy.transport.read_timeout import ReadTimeout
from tests.support.servers.waiting import until

_T = TypeVar("_T")


@pytest.fixture
async def read_timeout() -> ReadTimeout:
    return ReadTimeout(0.05)


async def _never() -> None:
    await asyncio.Event().wait()


async def _waited(read_timeout: ReadTimeout, awaitable: Awaitable[_T]) -> _T:
    """Waits like a reader of requests; raises TimeoutError when the time is up."""
    task = read_timeout.begin()
    try:
        return await awaitable
    except asyncio.CancelledError:
        if read_timeout.over(task):
            raise TimeoutError from None
        raise
    finally:
        read_timeout.end(task)


async def test_what_comes_in_time_is_passed_on(read_timeout: ReadTimeout) -> None:
    assert await _waited(read_timeout, asyncio.sleep(0, "x")) == "x"
    assert not read_timeout._due


async def test_all_end_at_their_time_and_not_before(read_timeout: ReadTimeout) -> None:
    loop = asyncio.get_running_loop()

    async def ended() -> float:
        begun = loop.time()
        with pytest.raises(TimeoutError):
            await _waited(read_timeout, _never())
        return loop.time() - begun

    waits = []
    for _ in range(5):
        waits.append(asyncio.create_task(ended()))
        await asyncio.sleep(0.01)
    assert all(span >= 0.05 for span in await asyncio.gather(*waits))
    assert not read_timeout._due
    assert not read_timeout._expired


async def test_after_a_pause_it_looks_again(read_timeout: ReadTimeout) -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await _waited(read_timeout, _never())
        await until(lambda: read_timeout._timer is None)


async def test_what_was_awaited_is_cancelled(read_timeout: ReadTimeout) -> None:
    cancelled = asyncio.Event()

    async def told() -> None:
        try:
            await _never()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        await _waited(read_timeout, told())
    assert cancelled.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(read_timeout: ReadTimeout) -> None:
    task = asyncio.create_task(_waited(read_timeout, _never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not read_timeout._due


async def test_one_from_outside_in_the_same_turn_wins(read_timeout: ReadTimeout) -> None:
    task = asyncio.create_task(_waited(read_timeout, _never()))
    await asyncio.sleep(0)
    read_timeout._due = dict.fromkeys(read_timeout._due, 0.0)
    read_timeout._look()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
