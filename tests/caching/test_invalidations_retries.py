"""Retries, in interleavings that no real server produces on command."""

import asyncio
import logging
import time

import pytest

from proxy.caching import invalidations
from proxy.caching.held import Intent
from proxy.caching.invalidations import Invalidations
from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.store.redis_node import Budget
from tests.support.in_process import USER
from tests.support.scripted_store import Counts, Refusing, cancelled
from tests.support.servers.waiting import until


@pytest.mark.parametrize(("sent_at", "lag"), [(None, None), (995.0, 5.0), (1001.0, 0.0)])
async def test_the_lag_counts_from_when_it_was_sent(sent_at: float | None, lag: float | None) -> None:
    store, counts = Refusing(), Counts()
    store.up = True
    ours = Invalidations(store, counts, wall_clock=lambda: 1000.0)
    await ours.invalidate(USER, source="event", sent_at=sent_at)
    assert counts.applied == [("event", lag)]


async def test_only_models_that_are_held_bypass() -> None:
    store = Refusing()
    ours = Invalidations(store, Counts())
    ours.invalidate_soon(USER)
    assert ours.held_back(USER)
    assert not ours.held_back(Model.of("user", 2))
    ours.flush_soon("asked for")
    assert ours.held_back(Model.of("user", 2))
    assert ours.pending == 2


async def test_a_retry_does_not_bring_an_intent_back() -> None:
    """The write ends between a failed attempt to set its intent and the retry of that attempt."""
    store = Refusing()
    ours = Invalidations(store, Counts())
    now = asyncio.get_running_loop().time()
    await ours.own_write(USER, Intent(b"i", now + 60), Budget())
    store.up = True
    await ours.own_write(USER, Intent(b"i", now), Budget(), ended=USER.described("avatars"))
    store.asked.clear()
    await ours.close()
    assert ours.pending == 0
    assert [(named.get("intent", b""), named.get("clear", b"")) for _, named in store.asked] == [(b"", b"i")]


@pytest.mark.parametrize("left", [0.0009, 0.0, -1.0])
async def test_without_time_left_redis_is_not_asked(left: float) -> None:
    store = Refusing()
    store.up = True
    ours = Invalidations(store, Counts())
    await ours.own_write(USER, Intent(b"i", 0.0), Budget(left))
    assert (store.asked, ours.pending) == ([], 1)


async def test_both_ends_of_a_write_share_one_budget() -> None:
    store = Refusing()
    ours = Invalidations(store, Counts())
    budget = Budget()
    for _ in range(2):
        before = budget.left
        await ours.own_write(USER, Intent(b"i", 0.0), budget)
        assert budget.left < before
    assert [named["timeout"] for _, named in store.asked] == sorted(
        (named["timeout"] for _, named in store.asked), reverse=True
    )


async def test_an_invalidation_asked_for_during_its_retry_is_done_again() -> None:
    store = Refusing()
    store.up, store.hold = True, asyncio.Event()
    ours = Invalidations(store, Counts())
    ours.invalidate_soon(USER)
    running = asyncio.create_task(ours.run())
    await until(lambda: len(store.asked) == 1, "the first retry")
    ours.invalidate_soon(USER)
    store.hold.set()
    await until(lambda: ours.pending == 0, "the second")
    assert len(store.asked) == 2
    await cancelled(running)


async def test_one_master_away_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidations, "_RETRIES_AT_ONCE", 2)
    store = Refusing()
    models = [Model.of("user", number) for number in range(9)]
    store.refused_models = set(models[:5])
    store.up = True
    ours = Invalidations(store, Counts())
    for model in models:
        ours.invalidate_soon(model)
    running = asyncio.create_task(ours.run())
    await until(lambda: ours.pending == 5, "the others to be applied")
    assert [model for model in models if ours.held_back(model)] == models[:5]
    store.refused_models.clear()
    await until(lambda: ours.pending == 0, "all of them")
    await cancelled(running)


async def test_one_round_is_enough_for_all_that_can_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidations, "_RETRIES_AT_ONCE", 2)
    store = Refusing()
    models = [Model.of("user", number) for number in range(8)]
    store.up, store.refused_models = True, set(models[::2])
    ours = Invalidations(store, Counts())
    for model in models:
        ours.invalidate_soon(model)
    await ours.close()  # one round
    assert [model for model in models if ours.held_back(model)] == models[::2]


async def test_a_flush_that_fails_holds_up_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Refusing()

    async def flush(_: object) -> int:
        raise RedisUnavailableError("one master is away")

    monkeypatch.setattr(store, "flush", flush)
    store.up = True
    ours = Invalidations(store, Counts())
    flushing = asyncio.create_task(ours.flush("asked for"))
    running = asyncio.create_task(ours.run())
    await until(lambda: ours.pending == 1, "the flush to be wanted")
    ours.invalidate_soon(USER)
    assert ours.pending == 2
    await until(lambda: ours.pending == 1, "the model to be applied", timeout=10)
    await cancelled(running)
    await cancelled(flushing)


async def test_retrying_goes_on_however_long_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py's own backoff overflows at its 1024th failure."""
    monkeypatch.setattr(invalidations, "_RETRIED_AT_LEAST_EVERY", 0.0)
    store, counts = Refusing(), Counts()
    ours = Invalidations(store, counts)
    ours.invalidate_soon(USER)
    running = asyncio.create_task(ours.run())
    await until(lambda: len(store.asked) > 1100, "many retries")
    store.up = True
    await until(lambda: ours.pending == 0, "the last one")
    assert counts.pending == 0
    await cancelled(running)


async def test_a_cancelled_event_is_still_applied() -> None:
    store, counts = Refusing(), Counts()
    store.hold = asyncio.Event()
    ours = Invalidations(store, counts)
    event = asyncio.create_task(ours.invalidate(USER, source="event"))
    await until(lambda: store.asked, "the attempt")
    await cancelled(event)
    assert ours.held_back(USER)  # the invalidation may not have arrived
    store.up = True
    store.hold.set()
    await ours.close()
    assert ours.pending == 0
    assert store.asked[-1][1]["window_ms"] == 100


async def test_an_event_waits_for_as_long_as_redis_is_away() -> None:
    store, counts = Refusing(), Counts()
    ours = Invalidations(store, counts)
    event = asyncio.create_task(ours.invalidate(USER, source="event"))
    running = asyncio.create_task(ours.run())
    await until(lambda: len(store.asked) > 3, "some retries")
    assert not event.done()
    assert counts.applied == []
    store.up = True
    await event
    assert counts.applied == [("event", None)]
    await cancelled(running)


async def test_an_event_that_is_held_with_a_write_is_told_by_itself() -> None:
    """Otherwise the write's note would say forever that its event is due."""
    store = Refusing()
    ours = Invalidations(store, Counts())
    await ours.own_write(USER, Intent(b"i", time.monotonic() + 60, announced=True), Budget())
    event = asyncio.create_task(ours.invalidate(USER, source="event"))
    await until(lambda: len(store.asked) == 2)
    store.asked.clear()
    store.up = True
    running = asyncio.create_task(ours.run())
    await event
    (first, second) = (named for _, named in store.asked)
    assert "intent" not in first
    assert first["window_ms"] == 100
    assert second["intent"] == b"i"
    await cancelled(running)


async def test_no_window_but_after_events() -> None:
    store = Refusing()
    store.up = True
    ours = Invalidations(store, Counts())
    await ours.invalidate(USER, source="event")
    await ours.invalidate(USER, source="admin")
    await ours.own_write(USER, Intent(b"i", 0.0), Budget(), ended=USER.described(""))
    assert [named["window_ms"] for _, named in store.asked] == [100, 0, 0]


async def test_without_redis_nothing_is_held() -> None:
    counts = Counts()
    ours = Invalidations(None, counts)
    await ours.invalidate(USER, source="event")
    await ours.own_write(USER, Intent(b"i", 1.0), Budget(), ended=USER.described("avatars"))
    await ours.flush("asked for")
    ours.flush_soon("asked for")
    ours.invalidate_soon(USER)
    await ours.close()
    assert (ours.pending, counts.applied, ours.held_back(USER)) == (0, [], False)


async def test_closing_says_what_redis_has_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    ours = Invalidations(Refusing(), Counts())
    ours.invalidate_soon(USER)
    await ours.close()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "stopping with invalidations that Redis has not confirmed"
    assert record.__dict__["pending"] == 1


async def test_closing_ends_though_redis_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidations, "_LAST_TRY_TIMEOUT", 0.05)
    store = Refusing()
    store.hold = asyncio.Event()
    ours = Invalidations(store, Counts())
    ours.invalidate_soon(USER)
    ours.flush_soon("asked for")
    await ours.close()
    assert ours.pending == 2
