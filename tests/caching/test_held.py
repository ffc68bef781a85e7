"""Which invalidations and flushes are held, and when they are done (the rules in proxy/caching/held.py)."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.caching import held as held_module
from proxy.caching.held import Held, Intent
from proxy.policy.builtin.model import Model

ABOUT = Model.of("a", 1).described("avatars")
A, B, C = Model.of("a", 1), Model.of("b", 1), Model.of("c", 1)


class Told(list[int]):
    """The counts that `tell` was called with."""


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def held(told: Told) -> Held:
    return Held(told.append)


async def waiting(wait: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """A task that has run as far as it can by itself."""
    task = asyncio.create_task(wait)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_a_held_model_is_not_trusted_until_it_is_done(held: Held, told: Told) -> None:
    held.hold(A)
    assert (A in held, B in held, held.count, held.tags, held.wanted.is_set()) == (True, False, 1, (A,), True)
    one = held.find(A)
    assert one is not None
    assert held.done(A, one, one.asked)
    assert (A in held, held.count, held.tags, held.find(A), held.wanted.is_set()) == (False, 0, (), None, False)
    assert told == [1, 0]


async def test_what_was_asked_for_during_an_attempt_is_not_done_with_it(held: Held) -> None:
    held.hold(A)
    one = held.find(A)
    assert one is not None
    asked = one.asked
    held.hold(A)
    waiter = await waiting(held.taken(A))
    assert not held.done(A, one, asked)
    assert A in held
    assert not waiter.done()
    assert held.done(A, one, one.asked)
    await waiter


async def test_an_attempt_that_ends_late_does_nothing_to_what_is_held_anew(held: Held) -> None:
    held.hold(A)
    old = held.find(A)
    assert old is not None
    assert held.done(A, old, old.asked)
    held.hold(A)
    held.done(A, old, old.asked)
    assert A in held


async def test_who_waits_for_a_model_waits_for_it_alone(held: Held) -> None:
    held.hold(A)
    held.hold(B)
    first, second = [await waiting(held.taken(model)) for model in (A, B)]
    one = held.find(A)
    assert one is not None
    first.cancel()
    await asyncio.wait([first])
    third = await waiting(held.taken(A))
    held.done(A, one, one.asked)
    await third
    assert not second.done()
    second.cancel()


async def test_all_that_one_model_wants_is_kept_together(held: Held) -> None:
    held.hold(A, window_ms=100, unreported=ABOUT)
    held.hold(A, intent=Intent(b"i", 5.0))
    held.hold(A, intent=Intent(b"j", 7.0))
    held.hold(A, intent=Intent(b"i", 6.0), window_ms=50)
    one = held.find(A)
    assert one is not None
    assert (one.window_ms, one.intents, one.unreported) == (100, {b"i": 6.0, b"j": 7.0}, ABOUT)


async def test_an_intent_that_somebody_else_changes_is_not_changed_back(held: Held) -> None:
    held.hold(A, intent=Intent(b"i", 5.0))
    held.amend(A, Intent(b"i", 0.0))
    held.amend(A, Intent(b"unknown", 9.0))
    held.amend(B, Intent(b"i", 9.0))
    one = held.find(A)
    assert one is not None
    assert one.intents == {b"i": 0.0}
    assert held.tags == (A,)


async def test_intents_of_one_model_are_bounded(held: Held) -> None:
    for number in range(20):
        held.hold(A, intent=Intent(b"%d" % number, 1.0))
    one = held.find(A)
    assert one is not None
    assert list(one.intents) == [b"%d" % number for number in range(4, 20)]


async def test_too_many_models_are_one_flush(
    held: Held, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(held_module, "MOST_HELD", 2)
    for model in (A, B, C, A):
        held.hold(model)
    waiter = await waiting(held.taken(C))
    assert (held.tags, held.count, C in held, Model.of("any", 9) in held) == ((A, B), 3, True, True)
    assert told[-1] == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    number = held.begin_flush(0.0)
    held.end_flush(number, done=True)
    await waiter
    assert (held.count, C in held, A in held) == (2, False, True)


def test_how_much_is_held() -> None:
    assert held_module.MOST_HELD == 10_000


async def test_a_flush_is_due_when_it_was_asked_for(held: Held) -> None:
    assert held.begin_flush(1000.0) == 0
    held.want_flush("later", due=10.0, source="write")
    assert (held.begin_flush(9.9), A in held, held.flush_reason) == (0, True, "later")
    held.want_flush("sooner", due=5.0, source="write")
    held.want_flush("later again", due=10.0, source="write")
    assert held.begin_flush(5.0) == 3
    assert held.begin_flush(1000.0) == 0  # it is under way
    assert A in held
    held.end_flush(3, done=True)
    assert A not in held


async def test_a_flush_counts_only_for_what_was_asked_before_it_began(held: Held) -> None:
    first = held.want_flush("one", due=0.0, source="write")
    began = held.begin_flush(1.0)
    second = held.want_flush("two", due=7.0, source="write")
    waiters = [await waiting(held.flushed(number)) for number in (first, second)]
    held.end_flush(began, done=True)
    await waiters[0]
    assert (waiters[1].done(), A in held) == (False, True)
    assert held.begin_flush(6.0) == 0  # it is due at 7
    held.end_flush(held.begin_flush(7.0), done=True)
    await waiters[1]


async def test_a_flush_that_failed_is_due_again_at_once(held: Held) -> None:
    number = held.want_flush("one", due=3.0, source="write")
    held.end_flush(held.begin_flush(3.0), done=False)
    assert A in held
    assert held.begin_flush(0.0) == number


async def test_at_the_end_a_flush_is_not_waited_for(held: Held) -> None:
    held.hurry()
    assert held.begin_flush(1000.0) == 0
    held.want_flush("one", due=1000.0, source="write")
    held.hurry()
    assert held.begin_flush(1.0) == 1


async def test_what_is_postponed_goes_last(held: Held) -> None:
    for model in (A, B, C):
        held.hold(model)
    held.postpone(A)
    held.postpone(Model.of("unknown", 1))
    assert held.tags == (B, C, A)


async def test_the_services_of_a_flush_add_up_until_it_begins() -> None:
    held = Held(lambda count: None)
    held.want_flush("one", due=0.0, source="write", service="a.A")
    number = held.want_flush("two", due=0.0, source="write", service="b.B")
    assert held.begin_flush(1.0) == number
    assert held.flush_share == frozenset({"a.A", "b.B"})
    held.want_flush("three", due=0.0, source="write", service="c.C")
    held.end_flush(number, done=False)  # what it should have removed is still there
    last = held.begin_flush(1.0)
    assert held.flush_share == frozenset({"a.A", "b.B", "c.C"})
    held.end_flush(last, done=True)
    assert held.count == 0


@pytest.mark.parametrize("services", [("a.A", ""), ("", "a.A")])
async def test_one_flush_of_everything_is_a_flush_of_everything(services: tuple[str, str]) -> None:
    held = Held(lambda count: None)
    for service in services:
        held.want_flush("asked for", due=0.0, source="write", service=service)
    number = held.begin_flush(1.0)
    assert held.flush_share is None
    held.want_flush("more", due=0.0, source="write", service="b.B")
    held.end_flush(number, done=False)
    held.begin_flush(1.0)
    assert held.flush_share is None
