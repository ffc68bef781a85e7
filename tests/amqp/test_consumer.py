"""The event consumer on a real RabbitMQ: what it declares and applies, and what it requeues when it stops."""

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import aiormq
import pytest
from aio_pika.abc import AbstractIncomingMessage

from proxy.amqp.intake import PREFETCH, Intake
from proxy.telemetry.dependency import State
from tests.support.amqp import Publisher, queues
from tests.support.amqp_consumer import DELETED, UPLOADED, empty, lines, once, running
from tests.support.media_events import EXCHANGE
from tests.support.servers.children import free_port
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


async def test_where_no_queue_was_it_flushes_once_and_then_applies_events(url: str, publisher: Publisher) -> None:
    async with running(url) as one:
        await one.settled()
        await publisher.event(1)
        await publisher.event(2, kind="deleted")
        await one.cache.applied(1, 2)
        assert one.cache.flushes == ["queue ours-uploaded did not exist"]
        assert one.seen.events == {("uploaded", "applied"): 1, ("deleted", "applied"): 1}


async def test_it_is_settled_once_the_flush_of_a_first_start_is_done(url: str) -> None:
    async with running(url) as one:
        before = one.consumer.settled
        one.cache.flush_open.clear()
        await until(lambda: one.cache.flushes_begun, "the flush to begin")
        during = one.consumer.settled
        one.cache.flush_open.set()
        await until(lambda: one.consumer.settled, "it to be settled")
        assert (before, during, one.seen.up) == (False, False, True)


async def test_it_is_settled_too_where_rabbitmq_is_away() -> None:
    async with running(f"amqp://guest:guest@127.0.0.1:{free_port()}/") as one:
        await until(lambda: one.consumer.settled, "it to be settled")
        assert not one.seen.up


async def test_what_waited_in_our_queue_is_applied_without_a_flush(url: str, publisher: Publisher) -> None:
    await once(url)
    await publisher.event(*range(20))
    async with running(url) as one:
        await one.cache.applied(*range(20))
        await one.settled()
        assert one.cache.flushes == []


async def test_our_queues_are_durable_and_expire(rabbit: RabbitServer, url: str) -> None:
    await once(url)
    found = await queues(rabbit, url)
    assert found.keys() == {UPLOADED, DELETED}
    assert all(queue.durable and "604800000" in queue.arguments for queue in found.values())


async def test_the_retired_subscribers_queues_are_taken_over_as_they_are(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await once(url, "api-gateway-media")
    found = await queues(rabbit, url)
    assert found.keys() == {"api-gateway-media-uploaded", "api-gateway-media-deleted"}
    assert all(queue.durable and queue.arguments == "[]" for queue in found.values())


async def test_the_old_subscriber_beside_us_gets_every_event(url: str, publisher: Publisher) -> None:
    old: list[AbstractIncomingMessage] = []

    async def take(message: AbstractIncomingMessage) -> None:
        old.append(message)
        await message.ack()

    queue = await publisher.channel.declare_queue("api-gateway-media-uploaded", durable=True)
    await queue.bind(EXCHANGE, "media.event.uploaded")
    await queue.consume(take)
    async with running(url, "api-gateway-media-cache") as one:
        await one.up()
        await publisher.event(*range(10))
        await one.cache.applied(*range(10))
        await until(lambda: len(old) == 10, "the old subscriber to get all")


async def test_two_sidecars_share_one_pair_of_queues(rabbit: RabbitServer, url: str, publisher: Publisher) -> None:
    async with running(url, prefetch=1) as one, running(url, prefetch=1) as other:
        await one.up()
        await other.up()
        await publisher.event(*range(50))
        await until(lambda: set(one.cache.ids + other.cache.ids) == set(range(50)), "all events")
        assert one.cache.ids
        assert other.cache.ids
        assert (await queues(rabbit, url))[UPLOADED].consumers == 2


async def test_three_hundred_events_held_and_let_go_are_all_applied(
    rabbit: RabbitServer, url: str, publisher: Publisher
) -> None:
    async with running(url, held=True) as one:
        await one.settled()
        await publisher.event(*range(300))
        await until(lambda: one.cache.begun == PREFETCH, "as many as may be in hand")
        state = (await queues(rabbit, url))[UPLOADED]
        assert (state.ready, state.unacknowledged) == (300 - PREFETCH, PREFETCH)
        one.cache.all_open.set()
        await one.cache.applied(*range(300))
        await until(lambda: empty(rabbit, url), "empty queues")


async def test_a_flood_of_malformed_messages_does_not_stop_delivery(
    rabbit: RabbitServer, url: str, publisher: Publisher
) -> None:
    async with running(url) as one:
        await one.settled()
        for batch in range(5):
            await asyncio.gather(*(publisher.raw(b"\xff malformed") for _ in range(100)))
            await publisher.event(batch)
        await one.cache.applied(*range(5))
        assert one.seen.events == {("uploaded", "malformed"): 500, ("uploaded", "applied"): 5}
        await until(lambda: empty(rabbit, url), "empty queues")


async def test_what_a_stop_gives_up_comes_again(rabbit: RabbitServer, url: str, publisher: Publisher) -> None:
    async with running(url, held=True) as one:
        await one.settled()
        await publisher.event(1, 2)
        await until(lambda: one.cache.begun == 2, "events in hand")
        await one.consumer.stop(grace=0.0)
        assert one.cache.ids == []
    async with running(url) as other:
        await other.cache.applied(1, 2)


async def test_a_stop_lets_what_is_in_hand_be_applied_and_acknowledged(
    rabbit: RabbitServer, url: str, publisher: Publisher
) -> None:
    async with running(url, held=True, prefetch=50) as one:
        await one.settled()
        await publisher.event(*range(50))
        await until(lambda: one.cache.begun == 50, "events in hand")
        stopping = asyncio.create_task(one.consumer.stop(grace=20.0))
        await until(lambda: _consumers(rabbit, url, 0), "the consumer to be cancelled")
        await publisher.event(99)
        one.cache.all_open.set()
        await stopping
        assert sorted(one.cache.ids) == list(range(50))
    state = (await queues(rabbit, url))[UPLOADED]
    assert (state.ready, state.unacknowledged) == (1, 0)


async def _consumers(rabbit: RabbitServer, url: str, count: int) -> bool:
    return (await queues(rabbit, url))[UPLOADED].consumers == count


async def test_a_stop_at_any_moment_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in each request during the start and the checks, where the library must not be cancelled."""
    request = aiormq.Channel.rpc
    begun = itertools.count(1)
    last = 0

    async def counted(channel: aiormq.Channel, *args: Any, **options: Any) -> Any:
        nonlocal last
        last = next(begun)
        return await request(channel, *args, **options)

    monkeypatch.setattr(aiormq.Channel, "rpc", counted)
    for requests in range(1, 80):
        stop_at = last + requests
        async with running(url, check_interval=0.0) as one:
            await until(partial(lambda count: last >= count, stop_at), f"{requests} requests")
            async with asyncio.timeout(5):
                await one.consumer.stop(grace=0.0)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_stop_while_it_connects_ends(url: str, steps: int) -> None:
    async with running(url) as one:
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await one.consumer.stop(grace=0.0)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("event")]


async def test_a_fault_of_ours_does_not_end_the_consumer(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([KeyError("broken on purpose")])
    establish: Callable[..., Any] = Intake.open

    async def broken(*args: Any, **options: Any) -> Any:
        for failure in failures:
            raise failure
        return await establish(*args, **options)

    monkeypatch.setattr(Intake, "open", broken)
    async with running(url) as one:
        await one.up()
    assert "the event consumer failed and is being restarted" in lines(caplog, logging.ERROR)


async def test_its_state_says_whether_events_arrive(url: str) -> None:
    async with running(url) as one:
        assert one.consumer.state == State(up=False, seconds=None)
        await one.up()
        state = one.consumer.state
        assert (state.up, state.reason) == (True, "")
        assert state.seconds is not None
        assert state.seconds >= 0
    nowhere = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    async with running(nowhere) as one:
        await until(lambda: one.consumer.state.reason, "the attempt to fail")
        assert not one.consumer.state.up
        assert one.consumer.state.seconds is not None
