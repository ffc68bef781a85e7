"""How long replies are waited for, on asyncio's event loop and on that of `serve`."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from proxy.errors import RedisUnavailableError
from proxy.store.redis_waits import Waits


def _reply() -> "asyncio.Future[object]":
    return asyncio.get_running_loop().create_future()


async def test_a_reply_that_does_not_come_fails_with_how_long_it_was_waited_for() -> None:
    waits, reply, now = Waits(lambda: 0.0), _reply(), time.monotonic()
    waits.begin(reply, now, now + 0.03)
    with pytest.raises(RedisUnavailableError, match=r"no answer within \d+ ms"):
        await reply


async def test_the_one_that_is_due_first_ends_first_whenever_it_began() -> None:
    waits, late, early, now = Waits(lambda: 0.0), _reply(), _reply(), time.monotonic()
    waits.begin(late, now, now + 60)
    waits.begin(early, now, now + 0.01)
    with pytest.raises(RedisUnavailableError):
        await early
    assert not late.done()
    waits.begin(again := _reply(), now, now + 0.01)
    with pytest.raises(RedisUnavailableError):
        await again
    assert not late.done()


async def test_all_end_one_after_the_other() -> None:
    waits, first, second, now = Waits(lambda: 0.0), _reply(), _reply(), time.monotonic()
    waits.begin(first, now, now + 0.01)
    waits.begin(second, now, now + 0.1)
    for reply in (first, second):
        with pytest.raises(RedisUnavailableError):
            await reply


async def test_a_reply_in_time_or_given_up_stays_as_it_is() -> None:
    waits, kept, left, last = Waits(lambda: 0.0), _reply(), _reply(), _reply()
    now = time.monotonic()
    for reply in (kept, left, last):
        waits.begin(reply, now, now + 0.01)
    kept.set_result(b"PONG")
    waits.end(left)
    with pytest.raises(RedisUnavailableError):
        await last
    assert await kept == b"PONG"
    assert not left.done()


async def test_our_own_lateness_is_given_back() -> None:
    """The loop is blocked beyond the end of the wait, while the reply is unread in the socket."""
    loop, waits, reply = asyncio.get_running_loop(), Waits(lambda: 0.0), _reply()
    now = time.monotonic()
    waits.begin(reply, now, now + 0.01)
    time.sleep(0.2)  # noqa: ASYNC251 -- it is the loop that shall stand still
    loop.call_later(0.05, reply.set_result, b"PONG")
    assert await reply == b"PONG"


async def test_behind_others_that_are_still_read_it_waits_for_as_long_as_the_loop_is_late() -> None:
    loop = asyncio.get_running_loop()
    waits, reply = Waits(time.monotonic), _reply()
    waits.lag = 0.2
    now = time.monotonic()
    waits.begin(reply, now, now + 0.01)
    loop.call_later(0.1, reply.set_result, b"PONG")
    assert await reply == b"PONG"


async def test_watching_it_sees_that_the_loop_stood_still() -> None:
    waits = Waits(lambda: 0.0)
    watching = asyncio.create_task(waits.watch())
    try:
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 -- as above
        async with asyncio.timeout(30):
            while not waits.lag:  # noqa: ASYNC110 -- the condition is what is tested
                await asyncio.sleep(0)
        assert waits.lag > 0.1
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_one_that_is_due_at_once_and_one_that_was_due_before_it() -> None:
    waits, now, first, second = Waits(lambda: 0.0), time.monotonic(), _reply(), _reply()
    waits.begin(first, now, now)
    waits.begin(second, now, now - 0.0001)
    for reply in (first, second):
        with pytest.raises(RedisUnavailableError):
            await reply


async def test_a_timer_that_fires_up_to_a_millisecond_early_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be scheduled again and again until the millisecond is over."""
    waits, now, reply = Waits(lambda: 0.0), time.monotonic(), _reply()
    waits.begin(reply, now, now + 60)
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now + 60 - 0.0009)
        waits._expire()
    with pytest.raises(RedisUnavailableError):
        reply.result()


@pytest.mark.parametrize(
    "test",
    [
        test_a_reply_that_does_not_come_fails_with_how_long_it_was_waited_for,
        test_the_one_that_is_due_first_ends_first_whenever_it_began,
        test_all_end_one_after_the_other,
        test_a_reply_in_time_or_given_up_stays_as_it_is,
        test_our_own_lateness_is_given_back,
        test_behind_others_that_are_still_read_it_waits_for_as_long_as_the_loop_is_late,
        test_watching_it_sees_that_the_loop_stood_still,
        test_one_that_is_due_at_once_and_one_that_was_due_before_it,
    ],
)
def test_on_uvloop(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    uvloop.run(run())
