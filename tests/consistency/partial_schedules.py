"""Schedules like those of `schedules.py` with partial faults: of one process' Redis, writes, a server, or the
publisher.

Answers that a fault leaves outdated may stay so only for a bounded time. A schedule waits until that time is over, or
must be over, and then declares that the commit must be visible.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.consistency.checker import Asked
from tests.consistency.world import WITHOUT_EVENTS, Process, World
from tests.support.amqp import queues
from tests.support.calling import publish
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

USER = Asked(1)


async def _over(condition: Callable[[], Awaitable[object] | object], most: float) -> None:
    """Returns once the condition holds, or after `most` seconds."""
    with suppress(TimeoutError):
        await until(condition, timeout=most)


def _server_of(process: Process) -> bytes:
    node = process.store.topology.node_for(b"any key")
    return node.run_id if node is not None and process.usable else b""


async def a_server_that_refuses_writes(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """The process that takes the event is refused; another one only reads."""
    writer, reader = await world.process(), await world.process()
    await world.read(reader, USER)
    await world.settle()
    await redis.cli("CONFIG", "SET", "min-replicas-to-write", 1)
    world.checker.commit(USER.model)
    await world.deliver(writer, 1)
    await _over(lambda: not reader.usable, 4.0)
    world.checker.applied(USER.model, 1, "refused for longer than a ping takes")
    await world.read(reader, USER)
    await redis.cli("CONFIG", "SET", "min-replicas-to-write", 0)
    await until(lambda: not len(writer.deliveries), "the event to be applied")
    await world.read(reader, USER)


async def a_confirmation_of_a_server_that_is_no_more_asked(
    world: World, redis: RedisServer, rabbit: RabbitServer
) -> None:
    """The address moves to another server. One process uses it and stores v0; the other still
    invalidates the old one.
    """
    world.patch.setattr("proxy.store.redis_health._QUARANTINE", 0.0)
    async with RedisServer() as other, FaultyTcp(redis.port) as one, FaultyTcp(redis.port) as two:
        writer, reader = await world.process(one.addr), await world.process(two.addr)
        old = _server_of(writer)
        one.target = two.target = ("127.0.0.1", other.port)
        two.cut()
        await until(lambda: _server_of(reader) not in {b"", old}, "the reader to be there")
        await world.read(reader, USER)
        await world.settle()
        world.checker.commit(USER.model)
        await world.deliver(writer, 1)
        await until(lambda: not len(writer.deliveries), "the event to be applied")
        one.cut()
        await until(lambda: _server_of(writer) == _server_of(reader), "the writer to be there")
        await until(lambda: not writer.invalidations.pending, "nothing to be held")
        await world.read(reader, USER)


async def a_master_whose_replica_was_promoted(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """One process has found the new master and stores v0; the other is still connected to the old one."""
    world.patch.setattr("proxy.store.redis_health._QUARANTINE", 0.0)
    async with (
        RedisServer(replica_of=redis) as replica,
        FaultyTcp(redis.port) as one,
        FaultyTcp(redis.port) as two,
    ):
        await redis.cli("SET", "tests:replicated", 1)
        await until(lambda: _has_acknowledged(redis), "the replica to be in sync")
        writer, reader = await world.process(one.addr), await world.process(two.addr)
        old = _server_of(writer)
        await replica.cli("REPLICAOF", "NO", "ONE")
        one.target = two.target = ("127.0.0.1", replica.port)
        two.cut()
        await until(lambda: _server_of(reader) not in {b"", old}, "the reader to be there")
        await world.read(reader, USER)
        await world.settle()
        world.checker.commit(USER.model)
        await world.deliver(writer, 1)
        await _over(lambda: not len(writer.deliveries), 1.0)
        await world.read(reader, USER)
        one.cut()
        await until(lambda: not len(writer.deliveries), "the event to be applied")
        await world.read(reader, USER)


async def _has_acknowledged(master: RedisServer) -> bool:
    replicas = await master.info("replication")
    return int(replicas.get("slave0", {}).get("offset", 0)) > 0


async def an_address_that_leads_elsewhere(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """The address moves, and nobody closes the reader's connection to the old server."""
    world.patch.setattr("proxy.store.redis_mastership._LOOK_IN_DOUBT_EVERY", 0.1)
    async with RedisServer() as other, FaultyTcp(redis.port) as one, FaultyTcp(redis.port) as two:
        writer, reader = await world.process(one.addr), await world.process(two.addr)
        await world.read(reader, USER)
        await world.settle()
        one.target = two.target = ("127.0.0.1", other.port)
        one.cut()
        world.checker.commit(USER.model)
        await world.deliver(writer, 1)
        await until(lambda: not len(writer.deliveries), "the event to be applied")
        await _over(lambda: _server_of(reader) == _server_of(writer), 4.0)
        await world.read(reader, USER)


async def a_process_without_redis_that_has_events(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """Only its connection to Redis is cut; the broker still sends it its share of the events."""
    url, asked = await rabbit.vhost(), [Asked(model_id) for model_id in range(1, 9)]
    async with FaultyTcp(redis.port) as link:
        cut_off, reader = await world.process(link.addr), await world.process()
        for process in (cut_off, reader):
            await world.consume(process, url)
        for each in asked:
            await world.read(reader, each)
        await world.settle()
        await link.refuse()
        for each in asked:
            world.checker.commit(each.model)
            await publish(url, each.model_id)
        await _over(lambda: _empty(rabbit, url), 4.0)
        for each in asked:
            world.checker.applied(each.model, 1, "what one cannot apply has gone to the other")
            await world.read(reader, each)
        await link.start()


async def _empty(rabbit: RabbitServer, url: str) -> bool:
    return not any(queue.ready + queue.unacknowledged for queue in (await queues(rabbit, url)).values())


async def a_publisher_that_is_mute(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """Writes through the proxy succeed, and no event follows; a write by another service has none either."""
    _hasten(world)
    process = await world.process()
    await world.consume(process, await rabbit.vhost())
    await world.read(process, USER)
    await world.settle()
    world.checker.commit(USER.model)
    for _ in range(3):
        await world.writing(process, 2)
    await _over(lambda: (process.gap.seconds or 0.0) > 2 * WITHOUT_EVENTS, 4.0)
    world.checker.applied(USER.model, 1, "mute for longer than is trusted")
    await world.read(process, USER)


async def one_of_several_publishers_that_is_mute(world: World, redis: RedisServer, rabbit: RabbitServer) -> None:
    """The writes through the proxy go to the mute one, while events of another service arrive."""
    _hasten(world)
    process, url = await world.process(), await rabbit.vhost()
    await world.consume(process, url)
    await world.read(process, USER)
    await world.settle()
    world.checker.commit(USER.model)

    async def noticed() -> bool:
        await world.writing(process, 2)
        await publish(url, 9)
        return process.gap.seconds is not None

    await _over(noticed, 6.0)
    await _over(lambda: False, 2 * WITHOUT_EVENTS)
    world.checker.applied(USER.model, 1, "one mute for longer than is trusted")
    await world.read(process, USER)


def _hasten(world: World, over: float = 0.5) -> None:
    """Shortens the time after which a silence is detected."""
    for name, seconds in (
        ("OVER", over),
        ("GRACE", 0.05),
        ("DRAINING", 0.05),
        ("_EXCHANGE_EVERY", 0.2),
        ("_EXCHANGE_PAUSE", 0.1),
    ):
        world.patch.setattr(f"proxy.amqp.silence.{name}", seconds)
