"""An owed flush is retried until it is done; one that may have begun too early does not count."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import repeat

import pytest

from proxy.amqp.flushes import Flushes
from tests.support.amqp import FakeInvalidator
from tests.support.servers.waiting import until


class _Running:
    def __init__(self) -> None:
        self.cache = FakeInvalidator()
        self.settled = 0
        self.flushes = Flushes(self.cache.flush, settled=self._count, pauses=lambda: repeat(0.0))
        self.task = asyncio.create_task(self.flushes.run())

    def _count(self) -> None:
        self.settled += 1


@pytest.fixture
async def one() -> AsyncIterator[_Running]:
    running = _Running()
    yield running
    running.task.cancel()
    await asyncio.wait({running.task})


async def test_what_is_owed_is_paid_and_told(one: _Running) -> None:
    settled = [one.flushes.settled]
    one.flushes.owe("a reason")
    settled.append(one.flushes.settled)
    await one.cache.flushed(1)
    settled.append(one.flushes.settled)
    assert (one.cache.flushes, one.settled, settled) == (["a reason"], 1, [True, False, True])


async def test_reasons_given_before_it_begins_are_paid_by_one_flush(one: _Running) -> None:
    one.flushes.owe("first")
    one.flushes.owe("second")
    await until(lambda: one.flushes.settled, "it to be settled")
    assert one.cache.flushes == ["second"]


async def test_a_reason_given_while_one_runs_asks_for_one_more(one: _Running) -> None:
    one.cache.flush_open.clear()
    one.flushes.owe("first")
    await until(lambda: one.cache.flushes_begun, "the flush to begin")
    one.flushes.owe("second")
    one.cache.flush_open.set()
    await until(lambda: one.flushes.settled, "it to be settled")
    assert (one.cache.flushes_begun, one.settled) == (2, 1)
    assert one.cache.flushes[-1] == "second"


async def test_a_flush_that_fails_is_tried_until_it_is_done(one: _Running, caplog: pytest.LogCaptureFixture) -> None:
    one.cache.failures = 3
    one.flushes.owe("a reason")
    await one.cache.flushed(1)
    assert one.cache.flushes_begun == 4
    assert [record.levelno for record in caplog.records if record.name == "proxy.amqp.flushes"] == [logging.ERROR]
