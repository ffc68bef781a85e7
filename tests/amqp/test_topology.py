"""What the state of a real broker reveals about the time before."""

import gc
from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed
from aio_pika.tools import OneShotCallback

from proxy.amqp.topology import Findings, Topology
from tests.support.amqp import body_of, queues
from tests.support.media_events import EXCHANGE, SOURCES
from tests.support.servers.rabbitmq import RabbitServer

NOTHING = Findings((), "")


@pytest.fixture
async def connection(url: str) -> AsyncIterator[AbstractConnection]:
    one = await aio_pika.connect(url)
    yield one
    await one.close()


@pytest.fixture
async def topology(connection: AbstractConnection) -> Topology:
    """A topology that is completely declared, with no flush owed."""
    one = Topology("ours", SOURCES)
    assert await one.establish(connection) == ""
    await one.mark(connection)
    return one


async def test_a_look_changes_nothing(rabbit: RabbitServer, url: str, connection: AbstractConnection) -> None:
    found = await Topology("ours", SOURCES).look(connection)
    assert found == Findings(("ours-uploaded", "ours-deleted"), "queue ours-uploaded did not exist")
    assert await queues(rabbit, url) == {}


async def test_where_all_stands_nothing_was_missed(topology: Topology, connection: AbstractConnection) -> None:
    assert await topology.look(connection) == NOTHING
    assert await Topology("ours", SOURCES).look(connection) == NOTHING
    assert await topology.establish(connection) == ""
    assert await topology.look(connection) == NOTHING


async def test_one_missing_queue_is_named(topology: Topology, connection: AbstractConnection) -> None:
    async with connection.channel() as channel:
        await channel.queue_delete("ours-deleted")
    assert await topology.look(connection) == Findings(("ours-deleted",), "queue ours-deleted did not exist")
    await topology.declare(connection, "ours-deleted")
    assert (await topology.look(connection)).missing == ()


async def test_a_debt_stands_until_it_is_marked_as_paid(topology: Topology, connection: AbstractConnection) -> None:
    await topology.unmark(connection)
    await topology.unmark(connection)
    assert "a flush was left undone" in (await topology.look(connection)).missed
    assert await topology.look(connection, at_mark=False) == NOTHING
    await topology.establish(connection)
    assert (await topology.look(connection)).missed
    await topology.mark(connection)
    await topology.mark(connection)
    assert await topology.look(connection) == NOTHING


async def test_another_prefix_has_a_mark_of_its_own(topology: Topology, connection: AbstractConnection) -> None:
    other = Topology("theirs", SOURCES)
    await other.establish(connection)
    assert (await other.look(connection)).missed
    await other.mark(connection)
    await topology.unmark(connection)
    assert await other.look(connection) == NOTHING


@pytest.mark.parametrize("declared_anew", [False, True])
async def test_the_mark_goes_with_the_exchange(
    topology: Topology, connection: AbstractConnection, declared_anew: bool
) -> None:
    async with connection.channel() as channel:
        await channel.exchange_delete(EXCHANGE)
        if declared_anew:
            await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
    assert "was replaced or restarted" in (await topology.look(connection)).missed


async def test_nobody_can_publish_through_the_mark(topology: Topology, connection: AbstractConnection) -> None:
    async with connection.channel() as channel:
        mark = await channel.get_exchange("ours-caught-up")
        with pytest.raises(aio_pika.exceptions.ChannelClosed, match="ACCESS_REFUSED"):
            await mark.publish(aio_pika.Message(body_of(1)), "media.event.uploaded")


async def test_other_arguments_are_a_reason_once(connection: AbstractConnection) -> None:
    topology = Topology("ours", SOURCES)
    async with connection.channel() as channel:
        await channel.declare_queue("ours-deleted", durable=True)
    with pytest.raises(ChannelPreconditionFailed):
        await topology.declare(connection, "ours-deleted")
    assert await topology.establish(connection) == "queue ours-deleted was declared again by someone else"
    assert await topology.establish(connection) == ""
    async with connection.channel() as channel:
        await channel.queue_delete("ours-deleted")
    assert await topology.establish(connection) == ""
    async with connection.channel() as channel:
        await channel.queue_delete("ours-deleted")
        await channel.declare_queue("ours-deleted", durable=True)
    assert await topology.establish(connection) == "queue ours-deleted was declared again by someone else"


async def test_a_purge_drops_what_waits(
    rabbit: RabbitServer, url: str, topology: Topology, connection: AbstractConnection
) -> None:
    async with connection.channel() as channel:
        exchange = await channel.get_exchange(EXCHANGE)
        for kind in ("uploaded", "deleted"):
            await exchange.publish(aio_pika.Message(body_of(1)), f"media.event.{kind}")
    assert {queue.ready for queue in (await queues(rabbit, url)).values()} == {1}
    await topology.purge(connection)
    assert {queue.ready for queue in (await queues(rabbit, url)).values()} == {0}


async def test_what_is_done_every_half_minute_leaves_nothing_behind(
    topology: Topology, connection: AbstractConnection
) -> None:
    """aio-pika keeps closed channels: eight of them every 30 s took 200 MB a day."""
    assert await topology.look(connection) == NOTHING
    before = _kept()
    for _ in range(5):
        assert await topology.look(connection) == NOTHING
        assert await topology.establish(connection) == ""
    assert _kept() == before


def _kept() -> int:
    gc.collect()
    return sum(isinstance(one, OneShotCallback) for one in gc.get_objects())
