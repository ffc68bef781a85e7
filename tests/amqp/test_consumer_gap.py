"""When the consumer reports events as missing: from its start, or from a loss, until the owed flush is done."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.calls.event_gap import EventGap
from proxy.store.event_record import Verdict
from tests.support.amqp import publishing
from tests.support.amqp_consumer import UPLOADED, Running, once, running
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until


@pytest.fixture
async def gap() -> EventGap:
    return EventGap(60.0, asyncio.get_running_loop().time)


async def _closed(gap: EventGap) -> None:
    await until(lambda: gap.seconds is None, "events to arrive")


async def test_at_first_nobody_knows_since_when(rabbit: RabbitServer, gap: EventGap) -> None:
    url = await rabbit.vhost()
    await once(url)
    assert gap.lost_ms(0.0) is None  # without a consumer no event is expected
    async with running(url, gap=gap):
        assert gap.seconds == math.inf
        await _closed(gap)


async def test_it_lasts_until_the_flush_is_done(rabbit: RabbitServer, gap: EventGap) -> None:
    """To be connected again is not enough while the stored answers are not flushed."""
    url = await rabbit.vhost()
    async with running(url, gap=gap) as one:
        one.cache.flush_open.clear()
        await until(lambda: one.cache.flushes_begun == 1, "the flush that a first start owes")
        assert one.seen.up
        assert gap.seconds == math.inf
        one.cache.flush_open.set()
        await _closed(gap)


async def test_it_counts_from_the_loss_and_not_from_failed_attempts(rabbit: RabbitServer, gap: EventGap) -> None:
    url = await rabbit.vhost()
    async with FaultyTcp(rabbit.port) as tcp, running(url.replace(f":{rabbit.port}/", f":{tcp.port}/"), gap=gap) as one:
        await _closed(gap)
        before = asyncio.get_running_loop().time()
        await tcp.refuse()
        await one.down()
        pauses = one.pauses
        await until(lambda: one.pauses >= pauses + 3, "attempts that fail")
        assert gap.seconds is not None
        assert gap.seconds <= asyncio.get_running_loop().time() - before
        assert gap._since is not None
        assert gap._since >= before
        one.cache.flush_open.clear()
        await tcp.start()
        await one.up()
        assert gap._since >= before
        one.cache.flush_open.set()
        await _closed(gap)


async def test_a_flush_done_while_it_is_lost_again_ends_nothing(rabbit: RabbitServer, gap: EventGap) -> None:
    url = await rabbit.vhost()
    async with FaultyTcp(rabbit.port) as tcp, running(url.replace(f":{rabbit.port}/", f":{tcp.port}/"), gap=gap) as one:
        one.cache.flush_open.clear()
        await until(lambda: one.cache.flushes_begun == 1, "the flush")
        await tcp.refuse()
        await one.down()
        one.cache.flush_open.set()
        await until(lambda: one.consumer._flushes.settled, "the flush to be done")
        assert gap.seconds == math.inf
        await tcp.start()
        await _closed(gap)


async def test_a_queue_that_was_deleted_is_a_loss(rabbit: RabbitServer, gap: EventGap) -> None:
    url = await rabbit.vhost()
    async with running(url, gap=gap) as one, publishing(url) as publisher:
        await one.settled()
        one.cache.flush_open.clear()
        await publisher.channel.queue_delete(UPLOADED)
        await until(lambda: one.cache.flushes_begun == 2, "the flush")
        assert gap.seconds is not None
        one.cache.flush_open.set()
        await _closed(gap)


async def test_a_broker_that_fell_silent_was_lost_when_it_did(own_rabbit: RabbitServer, gap: EventGap) -> None:
    """Slightly more than three heartbeats pass before the loss is noticed."""
    async with running(f"{await own_rabbit.vhost()}?heartbeat=1", gap=gap) as one:
        await one.settled()
        frozen = asyncio.get_running_loop().time()
        own_rabbit.freeze()
        await one.down()
        noticed = asyncio.get_running_loop().time()
        assert gap._since is not None
        assert abs(gap._since - frozen) < (noticed - frozen) / 2
        own_rabbit.thaw()
        await _closed(gap)


async def test_one_that_fell_silent_while_it_was_asked_something(own_rabbit: RabbitServer, gap: EventGap) -> None:
    async with running(await own_rabbit.vhost(), gap=gap, check_interval=0.1) as one:
        await one.settled()
        frozen = asyncio.get_running_loop().time()
        own_rabbit.freeze()
        await until(lambda: not one.seen.up, "the loss to be noticed", timeout=60)
        noticed = asyncio.get_running_loop().time()
        assert gap._since is not None
        assert abs(gap._since - frozen) < (noticed - frozen) / 2
        own_rabbit.thaw()
        await _closed(gap)


class _Record:
    """The proxies' common record, scripted by the test."""

    id = ""
    verdict = Verdict(silent=False, heard_ago=1.0)

    async def answered(self, tag: str, intent: bytes) -> bool | None:
        return None

    def __init__(self) -> None:
        self.missing = 0
        """The number of missing events that were reported."""

    async def exchange(self, missing: Iterable[object], **told: Any) -> Verdict:
        self.missing += len(list(missing))
        return self.verdict


@asynccontextmanager
async def _settled(rabbit: RabbitServer, gap: EventGap) -> AsyncIterator[tuple[Running, _Record]]:
    """A consumer that owes no flush and has closed the gap, and its record."""
    url, record = await rabbit.vhost(), _Record()
    await once(url)
    async with running(url, gap=gap, record=record) as one:
        await _closed(gap)
        yield one, record


async def test_a_silence_of_all_that_ends_means_a_flush_though_a_part_is_silent_still(
    rabbit: RabbitServer, gap: EventGap
) -> None:
    """Everything stored before its end is older than events that never came."""
    async with _settled(rabbit, gap) as (one, record):
        flushed = one.cache.flushes_begun
        record.verdict = Verdict(silent=True, heard_ago=60.0, in_part=True)
        await until(lambda: one.seen.missing[-1:] == [True], "the silence to be known")
        assert one.cache.flushes_begun == flushed
        record.verdict = Verdict(silent=False, heard_ago=0.0, in_part=True)
        await one.cache.flushed(flushed + 1)
        assert gap.seconds is not None
        record.verdict = Verdict(silent=False, heard_ago=0.0)
        await one.cache.flushed(flushed + 2)
        await _closed(gap)


async def test_what_is_overdue_is_told_to_nobody_and_means_a_flush_in_the_end(
    rabbit: RabbitServer, gap: EventGap
) -> None:
    async with _settled(rabbit, gap) as (one, record):
        flushed = one.cache.flushes_begun
        record.verdict = Verdict(silent=False, heard_ago=60.0, overdue=True)
        await until(lambda: gap.seconds is not None, "the doubt")
        assert gap.seconds is not None
        assert gap.seconds >= 60.0
        assert (one.seen.missing[-1], one.cache.flushes_begun, one.consumer.state.reason) == (False, flushed, "")
        record.verdict = Verdict(silent=False, heard_ago=0.0)
        await one.cache.flushed(flushed + 1)
        await _closed(gap)


async def test_writes_whose_events_rabbitmq_may_have_lost_are_not_told_of(
    rabbit: RabbitServer, gap: EventGap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRACE", "DRAINING"):
        monkeypatch.setattr(f"proxy.amqp.silence.{name}", 0.0)
    url, record = await rabbit.vhost(), _Record()
    async with running(url, gap=gap, record=record, patience=0.1) as one, publishing(url) as publisher:
        await _closed(gap)
        await publisher.channel.queue_delete(UPLOADED)
        await one.down()
        one.consumer.wrote(time.monotonic(), (), b"")
        await one.cache.flushed(2)
        one.consumer.wrote(time.monotonic(), (), b"")
        await until(lambda: record.missing, "the write since then to be told of")
        assert record.missing == 1
