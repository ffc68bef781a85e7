"""Messages on a real queue are acknowledged after their invalidation, never before; malformed ones are dropped."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import repeat

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from pamqp.common import Arguments

from proxy.amqp.deliveries import Deliveries
from proxy.policy.builtin.model import Model
from tests.support.amqp import FakeInvalidator, FakeObserver, Invalidation, QueueState, body_of, queues
from tests.support.media_events import EVENTS, MAX_BODY_BYTES
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.waiting import until

NOW = 1_700_000_000.25
KEY = "x-uploaded"


class Bench:
    """A queue whose messages go to the `Deliveries` under test."""

    def __init__(self, rabbit: RabbitServer, url: str) -> None:
        self._rabbit, self._url = rabbit, url
        self.cache = FakeInvalidator()
        self.seen = FakeObserver()
        self.deliveries = Deliveries(
            self.cache, self.seen, events=lambda _: EVENTS[0], clock=lambda: NOW, pauses=lambda: repeat(0.0)
        )
        self.messages: list[AbstractIncomingMessage] = []
        self.connection: aio_pika.abc.AbstractConnection
        self.channel: AbstractChannel
        self.queue: AbstractQueue
        self.publishing: AbstractChannel

    async def open(self, prefetch: int = 100) -> None:
        self.connection = await aio_pika.connect(self._url)
        self.publishing = await self.connection.channel()
        await self.publishing.declare_queue("dropped", durable=True)
        await self.consume(prefetch)

    async def consume(self, prefetch: int = 100) -> None:
        self.channel = await self.connection.channel(publisher_confirms=False)
        await self.channel.set_qos(prefetch)
        dead: Arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dropped"}
        self.queue = await self.channel.declare_queue(KEY, durable=True, arguments=dead)
        await self.queue.consume(self._take)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self.messages.append(message)
        await self.deliveries.take(message)

    async def publish(self, *bodies: bytes, timestamp: float | None = None) -> None:
        for body in bodies:
            await self.publishing.default_exchange.publish(aio_pika.Message(body, timestamp=timestamp), KEY)

    async def state(self, queue: str = KEY) -> QueueState:
        return (await queues(self._rabbit, self._url))[queue]

    async def empty(self) -> None:
        async def nothing_left() -> bool:
            state = await self.state()
            return not state.ready and not state.unacknowledged

        await until(nothing_left, "an empty queue")

    async def close(self) -> None:
        await self.deliveries.finish(0.0)
        await self.connection.close()


@pytest.fixture
async def bench(rabbit: RabbitServer) -> AsyncIterator[Bench]:
    one = Bench(rabbit, await rabbit.vhost())
    await one.open()
    yield one
    await one.close()


async def test_a_message_is_acknowledged_only_after_its_invalidation(bench: Bench) -> None:
    bench.cache.all_open.clear()
    await bench.publish(body_of(5, "User"))
    await until(lambda: bench.cache.begun, "the invalidation to begin")
    assert (await bench.state()).unacknowledged == 1
    bench.cache.all_open.set()
    await bench.empty()
    assert bench.cache.invalidations == [Invalidation(Model.of("user", 5), "event", "avatar", NOW)]
    assert bench.seen.events == {("uploaded", "applied"): 1}
    assert (await bench.state("dropped")).ready == 0


async def test_the_messages_own_time_goes_before_that_of_its_receipt(bench: Bench) -> None:
    await bench.publish(body_of(1), timestamp=1_699_900_000)
    await bench.cache.applied(1)
    assert bench.cache.invalidations[0].sent_at == 1_699_900_000


@pytest.mark.parametrize("timestamp", [0, 1, 86_400, 1_600_000_000])
async def test_a_time_that_no_message_can_have_waited_for_is_not_its_time(bench: Bench, timestamp: float) -> None:
    await bench.publish(body_of(1), timestamp=timestamp)
    await bench.cache.applied(1)
    assert bench.cache.invalidations[0].sent_at == NOW


async def test_a_held_model_holds_no_other(bench: Bench) -> None:
    bench.cache.held = {0}
    await bench.publish(*(body_of(model_id) for model_id in range(50)))
    await bench.cache.applied(*range(1, 50))
    assert 0 not in bench.cache.ids
    bench.cache.held = set()
    await bench.empty()


async def test_a_body_is_not_kept_while_its_invalidation_is_held(bench: Bench) -> None:
    bench.cache.all_open.clear()
    await bench.publish(body_of(1))
    await until(lambda: bench.cache.begun, "the invalidation to begin")
    assert [message.body for message in bench.messages] == [b""]


async def test_an_unexpected_error_is_retried_and_leaks_no_prefetch(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.channel.close()
    await bench.consume(prefetch=1)
    bench.cache.failures = 3
    await bench.publish(body_of(1), body_of(2))
    await bench.cache.applied(1, 2)
    await bench.empty()
    assert bench.seen.events == {("uploaded", "retried"): 3, ("uploaded", "applied"): 2}
    ours = [record for record in caplog.records if record.name == "proxy.amqp.deliveries"]
    assert [(record.levelno, bool(record.exc_info)) for record in ours] == [(logging.ERROR, True)]


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        (b'{"data": "s3cret"}', "malformed", "data"),
        (body_of(1, "").replace(b"ownerId", b"s3cret!"), "malformed", "model_type"),
        (b"s3cret" * (MAX_BODY_BYTES // 5), "oversize", "oversize"),
    ],
    ids=["data", "model_type", "oversize"],
)
async def test_what_names_no_model_goes_for_good_and_is_told_without_its_payload(
    bench: Bench, caplog: pytest.LogCaptureFixture, body: bytes, outcome: str, reason: str
) -> None:
    await bench.publish(body)

    async def dropped() -> bool:
        return (await bench.state("dropped")).ready == 1

    await until(dropped, "the dead-letter queue to have it")
    await bench.empty()
    assert bench.seen.events == {("uploaded", outcome): 1}
    assert bench.cache.begun == 0
    (record,) = [record for record in caplog.records if record.name == "proxy.amqp.deliveries"]
    assert (record.levelno, vars(record)["reason"], vars(record)["bytes"]) == (logging.WARNING, reason, len(body))
    assert "s3cret" not in str(vars(record))


async def test_a_flood_of_malformed_messages_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.publish(*[b"{"] * 100)
    await until(lambda: bench.seen.events["uploaded", "malformed"] == 100, "all to be counted")
    assert len([record for record in caplog.records if record.name == "proxy.amqp.deliveries"]) == 1


async def test_an_acknowledgement_on_a_lost_channel_is_dropped_and_the_message_comes_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.cache.all_open.clear()
    await bench.publish(body_of(1))
    await until(lambda: bench.cache.begun == 1, "the invalidation to begin")
    await bench.channel.close()
    assert len(bench.deliveries) == 1
    bench.cache.all_open.set()
    await until(lambda: not len(bench.deliveries), "the invalidation to end")
    assert bench.cache.ids == [1]
    await bench.consume()
    await bench.empty()
    assert bench.cache.ids == [1, 1]
    assert [record for record in caplog.records if record.name.startswith(("proxy", "asyncio"))] == []


async def test_what_reconnects_pile_up_is_bounded_to_the_newest(bench: Bench) -> None:
    bench.cache.all_open.clear()
    await bench.publish(*(body_of(model_id) for model_id in range(10)))
    await until(lambda: bench.cache.begun == 10, "all to begin")
    await bench.channel.close()
    bench.deliveries.keep_newest(4)
    await until(lambda: len(bench.deliveries) == 4, "the oldest to be given up")
    bench.deliveries.keep_newest(4)
    bench.cache.all_open.set()
    await until(lambda: not len(bench.deliveries), "the rest to end")
    assert sorted(bench.cache.ids) == [6, 7, 8, 9]


async def test_finish_lets_some_end_and_gives_up_the_rest(bench: Bench) -> None:
    bench.cache.held = {1, 2}
    await bench.publish(body_of(1), body_of(2))
    await until(lambda: bench.cache.begun == 2, "both to begin")
    finishing = asyncio.create_task(bench.deliveries.finish(1.0))
    bench.cache.held = {2}
    await finishing
    assert len(bench.deliveries) == 0
    assert bench.cache.ids == [1]
    assert (await bench.state()).unacknowledged == 1
