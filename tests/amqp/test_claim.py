"""Two Redis servers behind the queues of one prefix: both sides notice it, on a real broker."""

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.calls.event_gap import EventGap
from proxy.store.event_record import Verdict
from tests.support.amqp import queues
from tests.support.amqp_consumer import Running, lines, running
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


@dataclass
class Record:
    """The record of a Redis with this id, in which nothing happens."""

    id: str

    async def exchange(self, **_: Any) -> Verdict:
        return Verdict(silent=False, heard_ago=None)


HERE, ELSEWHERE = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


async def _claimed(rabbit: RabbitServer, url: str) -> None:
    async def there() -> bool:
        return "ours-redis" in await queues(rabbit, url)

    await until(there, "the claim")


async def _met(one: Running) -> None:
    await until(lambda: one.consumer._claim.rival, "the other Redis to be noticed")


async def test_proxies_of_one_redis_share_a_claim(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(url, record=Record(HERE), check_interval=0.1) as one:
        await _claimed(rabbit, url)
        async with running(url, record=Record(HERE), check_interval=0.1) as other:
            await other.checked(3)
            assert not one.consumer._claim.rival
            assert not other.consumer._claim.rival
    assert lines(caplog, logging.WARNING) == []


async def test_two_redis_behind_the_same_queues_are_told_on_both_sides(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither trusts its stored answers for long, because it misses half of the events."""
    gap = EventGap(60.0, lambda: 0.0)
    async with running(url, record=Record(HERE), check_interval=0.1, gap=gap) as one:
        await _claimed(rabbit, url)
        await until(lambda: gap.seconds is None, "events to arrive")
        async with running(url, record=Record(ELSEWHERE), check_interval=0.1) as other:
            await _met(other)
            await _met(one)
            assert gap.seconds is not None
            assert "another Redis" in one.consumer.state.reason
    said = [line for line in lines(caplog, logging.WARNING) if "EVENTS_QUEUE_PREFIX of its own" in line]
    assert len(said) == 2


async def test_a_user_who_may_not_claim_goes_without(rabbit: RabbitServer, url: str) -> None:
    vhost = url.rpartition("/")[2]
    await rabbit.eval(
        f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{vhost}">>, '
        f'<<"^(damar.events|ours-uploaded|ours-deleted|ours-caught-up)$">>, <<".*">>, <<".*">>, <<"tests">>).'
    )
    async with running(url, record=Record(HERE), check_interval=0.1) as one:
        await one.settled()
        await one.checked(2)
        assert one.consumer._claim._refused
        assert one.seen.ups == [False, True]
