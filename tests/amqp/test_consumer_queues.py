"""The event consumer when others change its queues, its exchange and its messages."""

import itertools
import logging
from collections.abc import Callable
from typing import Any

import aio_pika
import pamqp.encode
import pytest

from proxy.amqp.intake import Intake
from proxy.amqp.topology import Topology
from tests.support.amqp import FakeInvalidator, Publisher, body_of, publishing
from tests.support.amqp_consumer import DELETED, UPLOADED, lines, once, running
from tests.support.media_events import EXCHANGE
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


async def test_a_flush_that_a_killed_process_left_undone_is_done_by_the_next(url: str, publisher: Publisher) -> None:
    await once(url)
    await publisher.channel.queue_delete(UPLOADED)
    async with running(url) as killed:
        killed.cache.flush_open.clear()
        await killed.up()
        await until(lambda: killed.cache.flushes_begun, "the flush to begin")
    async with running(url) as other:
        await other.cache.flushed(1)
        await other.settled()
    async with running(url) as third:
        await third.settled()
        assert third.cache.flushes == []


async def test_a_deleted_queue_comes_back_and_means_a_flush(url: str, publisher: Publisher) -> None:
    async with running(url) as one:
        await one.settled()
        await publisher.channel.queue_delete(UPLOADED)
        await one.cache.flushed(2)
        assert one.cache.flushes[1] == "one of the proxy's queues was deleted"
        await publisher.event(1)
        await one.cache.applied(1)
        await one.settled()


@pytest.mark.parametrize("after", ["proxy.amqp.topology.Topology.look", "proxy.amqp.intake.Intake.open"])
async def test_a_queue_deleted_on_the_way_up_is_noticed(
    url: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """The consumer must not silently restore it by declaring it."""
    await once(url)
    name = after.rpartition(".")[2]
    owner = Topology if name == "look" else Intake
    step: Callable[..., Any] = getattr(owner, name)
    deletions = iter([UPLOADED])

    async def then_deleted(*args: Any, **options: Any) -> Any:
        result = await step(*args, **options)
        for queue in deletions:
            await publisher.channel.queue_delete(queue)
        return result

    monkeypatch.setattr(after, then_deleted)
    async with running(url) as one:
        await one.cache.flushed(1)
        await publisher.event(1)
        await one.cache.applied(1)


async def test_what_is_published_while_the_flush_begins_is_not_missed(
    url: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = FakeInvalidator.flush

    async def published(cache: FakeInvalidator, reason: str) -> None:
        await publisher.event(1)
        await flush(cache, reason)

    monkeypatch.setattr(FakeInvalidator, "flush", published)
    async with running(url) as one:
        await one.cache.flushed(1)
        await one.cache.applied(1)


async def test_a_queue_whose_deletion_nobody_told_is_missed_by_the_check(
    url: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.amqp.rabbit_session.RabbitSession._consumer_cancelled", lambda *_: None)
    async with running(url, check_interval=0.1) as one:
        await one.settled()
        await publisher.channel.queue_delete(DELETED)
        await one.cache.flushed(2)
        assert one.cache.flushes[1] == "queue ours-deleted did not exist"
        await publisher.event(1, kind="deleted")
        await one.cache.applied(1)


async def test_a_queue_declared_anew_with_other_arguments_is_used_and_means_one_flush(
    url: str, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(url, check_interval=0.1, pauses=lambda: itertools.repeat(0.5)) as one:
        await one.settled()
        await publisher.channel.queue_delete(UPLOADED)
        await publisher.channel.declare_queue(UPLOADED, durable=True, arguments={"x-max-length": 1000})
        await one.cache.flushed(2)
        await publisher.event(1)
        await one.cache.applied(1)
        await one.settled()
        await one.checked(3)
        assert len(one.cache.flushes) == 2
    complaints = [line for line in lines(caplog, logging.WARNING) if "other arguments" in line]
    assert len(complaints) == 1
    assert complaints[0].startswith("queue ours-uploaded exists with other arguments and is used as it is; delete it")


async def test_a_deleted_exchange_comes_back_at_the_next_check_and_means_a_flush(
    url: str, publisher: Publisher
) -> None:
    async with running(url, check_interval=0.1) as one:
        await one.settled()
        await publisher.channel.exchange_delete(EXCHANGE)
        await one.cache.flushed(2)
        await publisher.event(1)
        await one.cache.applied(1)
        await one.settled()
        await one.checked(2)
        assert len(one.cache.flushes) == 2


async def test_an_exchange_deleted_and_declared_anew_at_once_is_noticed(url: str, publisher: Publisher) -> None:
    async with running(url, check_interval=0.3) as one:
        await one.settled()
        await publisher.channel.exchange_delete(EXCHANGE)
        await publisher.channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        await publisher.event(1)  # nothing is bound, so it is lost
        await one.cache.flushed(2)
        await publisher.event(2)
        await one.cache.applied(2)
        assert one.cache.ids == [2]


async def test_a_binding_removed_by_hand_comes_back_at_the_next_check(url: str, publisher: Publisher) -> None:
    async with running(url, check_interval=0.3) as one:
        await one.settled()
        queue = await publisher.channel.get_queue(UPLOADED)
        await queue.unbind(EXCHANGE, "media.event.uploaded")
        await one.checked(2)
        await publisher.event(1)
        await one.cache.applied(1)
        assert len(one.cache.flushes) == 1  # from the first start: the broker does not report a missing binding


async def test_an_exchange_with_other_arguments_is_used_as_it_is(url: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT)
        async with running(url, check_interval=0.1) as one:
            await one.settled()
            await Publisher(channel).event(1)
            await one.cache.applied(1)
            await one.checked(2)
    finally:
        await connection.close()
    assert len([line for line in lines(caplog, logging.WARNING) if "exchange damar.events exists with" in line]) == 1


async def test_a_user_who_may_not_keep_the_mark_is_served_without(
    rabbit: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    vhost = url.rpartition("/")[2]
    await rabbit.eval(
        'rabbit_auth_backend_internal:add_user(<<"reader">>, <<"pw">>, <<"tests">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"reader">>, <<"{vhost}">>, '
        '<<"^(ours-(uploaded|deleted)|damar.events)$">>, <<"^ours-.*$">>, <<".*">>, <<"tests">>).'
    )
    limited = url.replace("guest:guest@", "reader:pw@")
    async with running(limited) as first:
        await first.cache.flushed(1)
        await first.settled()
    async with publishing(url) as publisher, running(limited, check_interval=0.1) as second:
        await publisher.event(1)
        await second.cache.applied(1)
        await second.checked(2)
        assert second.cache.flushes == []
        assert second.seen.ups == [False, True]
    assert (
        len(
            [line for line in lines(caplog, logging.INFO) if "may not declare and bind exchange ours-caught-up" in line]
        )
        == 2
    )


async def test_a_message_that_cannot_be_decoded_is_dropped_and_means_a_flush(
    url: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(url) as one:
        await one.settled()
        one.cache.all_open.clear()
        await publisher.event(1)  # in hand: it is requeued when the connection ends, before the undecodable one
        await until(lambda: one.cache.begun == 1, "an event in hand")
        with monkeypatch.context() as nanoseconds:
            nanoseconds.setitem(pamqp.encode.METHODS, "timestamp", lambda _: (2**60).to_bytes(8, "big"))
            await publisher.raw(body_of(2), timestamp=1)
        await one.cache.flushed(2)
        assert one.cache.flushes[1] == "a message cannot be decoded"
        one.cache.all_open.set()
        await publisher.event(3)
        await one.cache.applied(3)
        await one.settled()
        assert one.seen.ups == [False, True, False, True]
    assert "RabbitMQ lost: a message cannot be decoded" in lines(caplog, logging.WARNING)
