"""A session ends for the first of several reasons, and a step that takes too long ends with its connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPConnectionError

from proxy.amqp.rabbit_session import HEARTBEAT, RabbitSession, unconnected, why
from tests.support.servers.children import free_port
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until


@pytest.fixture
async def tcp(rabbit: RabbitServer) -> AsyncIterator[FaultyTcp]:
    async with FaultyTcp(rabbit.port) as one:
        yield one


@pytest.fixture
async def session(tcp: FaultyTcp) -> AsyncIterator[RabbitSession]:
    one = await RabbitSession.open(f"amqp://guest:guest@{tcp.addr}/")
    yield one
    await one.close()


async def _declare(session: RabbitSession) -> str:
    async with session.connection.channel() as channel:
        return (await channel.declare_queue(exclusive=True)).name


async def test_the_heartbeat_is_ours_where_the_url_names_none() -> None:
    assert unconnected("amqp://h/").url.query["heartbeat"] == str(HEARTBEAT)
    assert unconnected("amqp://h/%2F?heartbeat=3").url.query["heartbeat"] == "3"


async def test_a_refused_connection_is_an_error_that_names_no_credentials() -> None:
    with pytest.raises(AMQPConnectionError) as caught:
        await RabbitSession.open(f"amqp://guest:s3cret@127.0.0.1:{free_port()}/")
    assert "connection refused" in why(caught.value)
    assert "s3cret" not in why(caught.value)


async def test_a_step_gives_its_result_or_its_error(session: RabbitSession) -> None:
    assert (await session.step(_declare(session))).startswith("amq.gen")

    async def broken() -> None:
        raise KeyError("broken on purpose")

    with pytest.raises(KeyError):
        await session.step(broken())
    assert session.lost == ""


async def test_a_step_without_an_answer_ends_with_its_connection(session: RabbitSession, tcp: FaultyTcp) -> None:
    tcp.stall()
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await session.step(_declare(session), timeout=0.1)
    assert _steps() == []
    assert session.connection.is_closed
    assert session.lost == ""  # the session closed it itself


async def test_a_step_that_is_cancelled_without_an_answer_ends_with_its_connection(
    session: RabbitSession, tcp: FaultyTcp
) -> None:
    tcp.stall()
    waiting = asyncio.create_task(session.step(_declare(session)))
    await until(lambda: len(_steps()) == 1, "the step to begin")
    waiting.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert _steps() == []
    assert session.connection.is_closed


async def test_a_step_whose_connection_misses_heartbeats_is_an_error_and_no_cancellation(tcp: FaultyTcp) -> None:
    """The library then cancels the task that waits for an answer."""
    session = await RabbitSession.open(f"amqp://guest:guest@{tcp.addr}/?heartbeat=1")
    tcp.stall()
    with pytest.raises(AMQPConnectionError, match="no answer"):
        await session.step(_declare(session), timeout=60)
    assert session.lost == "no answer"
    await session.close()


async def test_a_step_that_is_cancelled_may_still_end_by_itself(session: RabbitSession, tcp: FaultyTcp) -> None:
    tcp.delay = 0.05
    waiting = asyncio.create_task(session.step(_declare(session)))
    await until(lambda: len(_steps()) == 1, "the step to begin")
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    tcp.delay = 0.0
    await session.step(_declare(session))  # the connection still works


def _steps() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "events: step"]


async def test_a_lost_connection_is_told(session: RabbitSession, tcp: FaultyTcp) -> None:
    session.check()
    tcp.cut()
    await session.wake.wait()
    with pytest.raises(AMQPConnectionError):
        session.check()
    assert session.lost
    assert not session.undecodable


async def test_a_channel_closed_by_the_broker_is_told(session: RabbitSession) -> None:
    channel = session.connection.channel(publisher_confirms=False)
    await channel.initialize()
    await session.watch(channel)
    await (await channel.get_underlay_channel()).basic_ack(99)
    await session.wake.wait()
    assert "unknown delivery tag 99" in session.lost


async def test_a_cancelled_consumer_is_told(session: RabbitSession) -> None:
    channel = session.connection.channel()
    await channel.initialize()
    await session.watch(channel)
    queue = await channel.declare_queue(exclusive=True)
    await queue.consume(_ignore)
    await channel.queue_delete(queue.name)
    await session.wake.wait()
    assert session.queue_deleted
    assert session.lost == "one of the proxy's queues was deleted"


async def _ignore(_: AbstractIncomingMessage) -> None:
    pass


async def test_our_own_close_is_no_loss(session: RabbitSession) -> None:
    channel = session.connection.channel()
    await channel.initialize()
    await session.watch(channel)
    await session.close()
    assert session.lost == ""
    assert not session.wake.is_set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "connection closed"),
        (asyncio.CancelledError(), "no answer"),
        (TimeoutError(), "no answer"),
        (AMQPConnectionError(111, "refused"), "refused"),
        (AMQPConnectionError(), "AMQPConnectionError"),
        (KeyError("payload"), "KeyError"),
        (AMQPConnectionError("x" * 1000), "x" * 300),
    ],
)
def test_a_reason_is_a_few_words(error: BaseException | None, words: str) -> None:
    assert why(error) == words
