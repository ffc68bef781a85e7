"""The channel on which events arrive: opened once per session, and closed with or without messages in hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.amqp.deliveries import Deliveries
from proxy.amqp.intake import Intake
from proxy.amqp.rabbit_session import RabbitSession
from tests.support.amqp import FakeInvalidator, FakeObserver, publishing, queues
from tests.support.amqp_consumer import DELETED, UPLOADED, once
from tests.support.media_events import EVENTS
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


@pytest.fixture
async def url(rabbit: RabbitServer) -> str:
    found = await rabbit.vhost()
    await once(found)
    return found


@pytest.fixture
async def session(url: str) -> AsyncIterator[RabbitSession]:
    one = await RabbitSession.open(url)
    yield one
    await one.close()


@pytest.fixture
def cache() -> FakeInvalidator:
    return FakeInvalidator()


@pytest.fixture
def intake(cache: FakeInvalidator) -> Intake:
    return Intake((UPLOADED, DELETED), Deliveries(cache, FakeObserver(), events=lambda _: EVENTS[0]), prefetch=3)


async def test_it_takes_events_up_to_its_prefetch_and_is_opened_once(
    rabbit: RabbitServer, url: str, session: RabbitSession, intake: Intake, cache: FakeInvalidator
) -> None:
    cache.all_open.clear()
    async with publishing(url) as publisher:
        await publisher.event(*range(5))
    await intake.open(session)
    await intake.open(session)
    await until(lambda: cache.begun == 3, "three to be in hand")
    found = (await queues(rabbit, url))[UPLOADED]
    assert (found.ready, found.unacknowledged, found.consumers) == (2, 3, 1)
    cache.all_open.set()
    await cache.applied(*range(5))


async def test_what_is_handed_back_waits_in_its_old_order_and_the_session_goes_on(
    rabbit: RabbitServer, url: str, session: RabbitSession, intake: Intake, cache: FakeInvalidator
) -> None:
    cache.all_open.clear()
    async with publishing(url) as publisher:
        await publisher.event(*range(5))
    await intake.open(session)
    await until(lambda: cache.begun == 3, "three to be in hand")
    await intake.hand_back(session)
    await intake.hand_back(session)
    found = (await queues(rabbit, url))[UPLOADED]
    assert (found.ready, found.unacknowledged, found.consumers) == (5, 0, 0)
    assert not intake.open_in(session)
    assert session.lost == ""
    cache.all_open.set()
    await cache.applied(*range(3))  # the invalidations are done, but no message is acknowledged
    await intake.open(session)
    await until(lambda: len(cache.ids) == 8, "all of them")
    assert cache.ids[3:] == list(range(5))


async def test_another_session_has_another_channel(url: str, session: RabbitSession, intake: Intake) -> None:
    await intake.open(session)
    other = await RabbitSession.open(url)
    try:
        assert not intake.open_in(other)
        await intake.hand_back(other)
        assert intake.open_in(session)
        await intake.open(other)
        assert intake.open_in(other)
        assert not intake.open_in(session)
    finally:
        await other.close()


async def test_let_go_of_gently_what_is_in_hand_is_acknowledged(
    rabbit: RabbitServer, url: str, session: RabbitSession, intake: Intake, cache: FakeInvalidator
) -> None:
    cache.all_open.clear()
    async with publishing(url) as publisher:
        await publisher.event(1)
        await intake.open(session)
        await until(lambda: cache.begun == 1, "it to be in hand")
        going = asyncio.create_task(intake.let_go(session, 20.0))
        await until(lambda: not intake.open_in(session), "it to begin")
        cache.all_open.set()
        await going
    found = (await queues(rabbit, url))[UPLOADED]
    assert (found.ready, found.unacknowledged, found.consumers) == (0, 0, 0)
