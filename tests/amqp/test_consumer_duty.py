"""A consumer that cannot apply events hands them back and takes none; on real brokers, with scripted caches."""

import asyncio
import logging
import time

import pytest

from proxy.amqp.duty import Able
from proxy.amqp.intake import ROOM_IN_PART
from proxy.calls.event_gap import EventGap
from proxy.policy.builtin.model import Model
from tests.support.amqp import publishing, queues
from tests.support.amqp_consumer import UPLOADED, Running, empty, lines, once, running
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

PATIENCE = 0.4


class Redis:
    """Tells one consumer whether Redis accepts invalidations."""

    up = True

    def __call__(self) -> bool:
        return self.up


@pytest.fixture
async def url(rabbit: RabbitServer) -> str:
    found = await rabbit.vhost()
    await once(found)
    return found


async def _consumers(rabbit: RabbitServer, url: str) -> int:
    return (await queues(rabbit, url))[UPLOADED].consumers


async def _off_duty(one: Running) -> None:
    await until(lambda: not one.consumer._duty.on and one.consumer._intake._taken is None, "duty to end")


async def test_events_that_one_cannot_apply_are_applied_by_another(rabbit: RabbitServer, url: str) -> None:
    """They are applied at once, although the prefetch would hold them all. Afterwards both take events again."""
    async with running(url, prefetch=20, patience=PATIENCE, held=True) as cut_off, publishing(url) as publisher:
        await cut_off.settled()
        await publisher.event(*range(20))
        await until(lambda: cut_off.cache.begun == 20, "all of them to be in hand")
        async with running(url, prefetch=20) as well:
            await well.cache.applied(*range(20))
            await _off_duty(cut_off)
            assert cut_off.cache.ids == []
            cut_off.cache.all_open.set()
            await until(lambda: _both(rabbit, url), "both to consume")
            assert cut_off.seen.ups == [False, True]  # RabbitMQ was there all the time


async def _nobody(rabbit: RabbitServer, url: str) -> bool:
    return await _consumers(rabbit, url) == 0


async def _both(rabbit: RabbitServer, url: str) -> bool:
    return await _consumers(rabbit, url) == 2


async def test_without_redis_nothing_is_taken_until_it_is_back(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis()
    with caplog.at_level(logging.INFO):
        async with running(url, patience=PATIENCE, able=Able(any=redis)) as one, publishing(url) as publisher:
            await one.settled()
            redis.up = False
            await _off_duty(one)
            await until(lambda: _nobody(rabbit, url), "the broker to have taken the consumers out")
            await publisher.event(1, 2, 3)
            found = (await queues(rabbit, url))[UPLOADED]
            assert (found.ready, found.unacknowledged, found.consumers) == (3, 0, 0)
            assert one.cache.begun == 0
            state = one.consumer.state
            assert state.up
            assert "until Redis confirms" in state.reason
            redis.up = True
            await one.cache.applied(1, 2, 3)
            assert one.consumer.state.reason == ""
    assert len(lines(caplog, logging.WARNING)) == 1
    assert lines(caplog, logging.INFO).count("consuming events again: Redis confirms invalidations") == 1


async def test_two_that_both_lack_redis_do_not_throw_events_to_each_other(rabbit: RabbitServer, url: str) -> None:
    async with (
        running(url, patience=PATIENCE, held=True) as one,
        running(url, patience=PATIENCE, held=True) as other,
        publishing(url) as publisher,
    ):
        await one.settled()
        await other.settled()
        await publisher.event(*range(4))
        await _off_duty(one)
        await _off_duty(other)
        await until(lambda: _nobody(rabbit, url), "the channels to be closed")  # until then messages may arrive
        begun = one.cache.begun + other.cache.begun
        assert begun <= 8  # each message at most once to each consumer
        await publisher.event(*range(4, 8))
        assert (await queues(rabbit, url))[UPLOADED].ready == 8
        assert one.cache.begun + other.cache.begun == begun
        one.cache.all_open.set()
        await one.cache.applied(*range(8))


async def test_a_session_that_begins_without_redis_takes_nothing(rabbit: RabbitServer, url: str) -> None:
    redis = Redis()
    async with FaultyTcp(rabbit.port) as way, publishing(url) as publisher:
        through = url.replace(f":{rabbit.port}/", f":{way.port}/")
        async with running(through, patience=PATIENCE, able=Able(any=redis)) as one:
            await one.settled()
            redis.up = False
            await _off_duty(one)
            way.cut()
            await one.down()
            await one.up()
            await publisher.event(1)
            assert await _consumers(rabbit, url) == 0
            redis.up = True
            await one.cache.applied(1)


async def test_what_may_be_outdated_is_not_trusted_meanwhile(url: str) -> None:
    gap = EventGap(60.0, asyncio.get_running_loop().time)
    async with running(url, patience=PATIENCE, gap=gap, held=True) as one, publishing(url) as publisher:
        await one.settled()
        await until(lambda: gap.seconds is None, "events to arrive")
        before = time.monotonic()
        await publisher.event(1)
        await _off_duty(one)
        assert gap._since is not None
        assert before <= gap._since <= time.monotonic() - PATIENCE
        one.cache.all_open.set()
        await until(lambda: gap.seconds is None, "events to be taken again")
        assert one.cache.ids[0] == 1


async def test_a_queue_deleted_meanwhile_means_a_flush(url: str) -> None:
    """Even right after the consumers are gone, which the broker would have told."""
    redis = Redis()
    async with running(url, patience=PATIENCE, able=Able(any=redis)) as one, publishing(url) as publisher:
        await one.settled()
        redis.up = False
        await _off_duty(one)
        await publisher.channel.queue_delete(UPLOADED)
        redis.up = True
        await one.cache.flushed(1)
        await publisher.event(1)
        await one.cache.applied(1)


LACKED = range(100, 100 + 30)
"""Models on a master that is away; there are more of them than the prefetch."""


def _without_a_master(redis: Redis) -> Able:
    return Able(whole=redis, of=lambda tag: redis.up or Model(tag).id not in LACKED)


async def _in_part(one: Running) -> None:
    await until(lambda: one.consumer._duty.in_part and one.consumer._intake._in_part, "only a part to be there")


async def test_events_of_a_master_that_is_away_hold_up_no_others(url: str) -> None:
    redis, gap = Redis(), EventGap(60.0, time.monotonic)
    async with running(url, patience=PATIENCE, able=_without_a_master(redis), gap=gap) as one:
        await one.settled()
        redis.up, one.cache.held = False, set(LACKED)
        async with publishing(url) as publisher:
            await publisher.event(*LACKED, 1, 2, 3)
            await one.cache.applied(1, 2, 3)
            assert gap.seconds is None  # everything that can be read is up to date
            assert "a part of Redis" in one.consumer.state.reason
            one.cache.held.clear()
            redis.up = True
            await one.cache.applied(*LACKED)
            await until(lambda: not one.consumer._intake._in_part, "all of it to be there")
            assert one.consumer.state.reason == ""


async def test_they_go_to_who_reaches_it(rabbit: RabbitServer, url: str) -> None:
    """New ones go there at once, and those that the other consumer got anyway go there after a while."""
    async with running(url, patience=PATIENCE, able=_without_a_master(redis := Redis())) as one:
        await one.settled()
        redis.up, one.cache.held = False, set(LACKED)
        await _in_part(one)
        async with publishing(url) as publisher:
            await publisher.event(*LACKED)
            await until(lambda: one.cache.begun >= len(LACKED), "all of them to be in hand")
            async with running(url) as other:
                await other.cache.applied(*LACKED)
                one.cache.held.clear()
                await until(lambda: empty(rabbit, url), "nothing to be left")
                begun = one.cache.begun
                await publisher.event(1, 2, 3)
                await other.cache.applied(1, 2, 3)
                assert one.cache.begun == begun  # its consumer has the lower priority


async def test_when_too_many_wait_for_it_events_count_as_missing(url: str) -> None:
    redis, gap = Redis(), EventGap(60.0, time.monotonic)
    able = Able(whole=redis, of=lambda tag: redis.up or Model(tag).id < LACKED[0])
    async with running(url, patience=PATIENCE, able=able, gap=gap) as one, publishing(url) as publisher:
        await one.settled()
        redis.up = False
        many = range(LACKED[0], LACKED[0] + ROOM_IN_PART)
        one.cache.all_open.clear()
        await _in_part(one)
        await publisher.event(*many)
        await _off_duty(one)
        assert gap.seconds is not None
        one.cache.all_open.set()
        redis.up = True
        await until(lambda: gap.seconds is None, "events to be taken again")
        await one.cache.applied(*many)
