"""One schedule for each part of the protocol that could be missing. Gates force its races, so none is left to chance.

Each ends with reads that are wrong without that part. A schedule judges nothing itself; the `Checker` does.
"""

from tests.consistency.checker import Asked
from tests.consistency.world import TTL, World, turns
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

USER = Asked(1)
_WINDOW_OVER = 1
"""Seconds; after an event, no lease is granted for 0.1 s."""


async def a_fill_late_for_an_event(world: World, redis: RedisServer) -> None:
    """A fetch reads v0; v1 is committed and its event acknowledged; only then does the fetch land and fill."""
    process = await world.process()
    world.origin.gated = True
    late = world.reading(process, USER)
    await until(lambda: world.origin.held, "the fetch")
    world.checker.commit(USER.model)
    await world.deliver(process, 1)
    await until(lambda: not len(process.deliveries), "the event to be applied")
    world.origin.open()
    await late
    await world.settle()
    await world.read(process, USER)


async def a_read_beside_a_fetch_from_before_an_event(world: World, redis: RedisServer) -> None:
    """A fetch that read v0 is still in progress when the event of v1 is acknowledged and the next read arrives."""
    process = await world.process()
    world.origin.gated = True
    world.reading(process, USER)
    await until(lambda: world.origin.held, "the fetch")
    world.checker.commit(USER.model)
    await world.deliver(process, 1)
    await until(lambda: not len(process.deliveries), "the event to be applied")
    await world.clock.jump(redis, _WINDOW_OVER)
    world.reading(process, USER)
    await world.settle()
    await world.quiet()


async def an_event_while_redis_hangs(world: World, redis: RedisServer) -> None:
    """The process that takes the event gets no answer from Redis; another one does, and reads."""
    async with FaultyTcp(redis.port) as link:
        reader, cut_off = await world.process(), await world.process(link.addr)
        await world.read(reader, USER)
        await world.settle()
        link.stall()
        world.checker.commit(USER.model)
        await world.deliver(cut_off, 1)
        await turns()
        await world.read(reader, USER)
        link.resume()
        await until(lambda: not len(cut_off.deliveries), "the event to be applied")
        await world.read(reader, USER)


async def a_proxy_killed_in_a_write(world: World, redis: RedisServer) -> None:
    """It dies between the origin's commit and its own second invalidation; a read fetched before the commit."""
    async with FaultyTcp(redis.port) as link:
        reader, writer = await world.process(), await world.process(link.addr)
        world.origin.gated = True
        writing = world.writing(writer, 1)
        await until(lambda: world.origin.held, "the write")
        reading = world.reading(reader, USER)
        await until(lambda: len(world.origin.held) == 2, "the fetch")
        world.origin.release(1)
        await reading
        await world.settle()
        world.origin.release(0)
        await until(lambda: world.checker.version(USER.model) == 1 and world.origin.held, "the commit")
        await link.refuse()
        link.cut()
        writing.cancel()
        await writer.kill()
        world.processes.remove(writer)
        world.origin.open()
        # Nothing more is reported about this write: reads must see its result from now on.
        world.checker.applied(USER.model, 1, "all is quiet")
        await world.read(reader, USER)
        await world.settle()
        await world.read(reader, USER)


async def a_snapshot_that_comes_back(world: World, redis: RedisServer) -> None:
    """Redis restarts from a snapshot that holds an entry that was invalidated since; a new process reads."""
    before = await world.process()
    await world.read(before, USER)
    await world.settle()
    await redis.cli("SAVE")
    world.checker.commit(USER.model)
    await world.deliver(before, 1)
    await until(lambda: not len(before.deliveries), "the event to be applied")
    redis.kill()
    await redis.start()
    await world.read(await world.process(), USER)


async def a_write_answered_during_an_outage(world: World, redis: RedisServer) -> None:
    """All processes lose Redis. One answers a write, holds its invalidation and stays cut off; another reconnects."""
    async with FaultyTcp(redis.port) as one, FaultyTcp(redis.port) as two:
        reader, writer = await world.process(one.addr), await world.process(two.addr)
        await world.read(reader, USER)
        await world.settle()
        for link in (one, two):
            await link.refuse()
            link.cut()
        await until(lambda: not reader.usable and not writer.usable, "the outage to be seen")
        await world.writing(writer, 1)
        world.checker.applied(USER.model, 1, "write answered in the outage")
        await world.read(reader, USER)
        await one.start()
        await until(lambda: reader.usable, "Redis to be back")
        await world.read(reader, USER)
        await two.start()


async def an_entry_that_nobody_invalidates(world: World, redis: RedisServer) -> None:
    """A commit has no event, and a TTL passes."""
    process = await world.process()
    await world.read(process, USER)
    await world.settle()
    world.checker.commit(USER.model)
    await world.read(process, USER)
    await world.clock.jump(redis, int(TTL) + 60)
    await world.read(process, USER)


async def a_failure_that_is_over(world: World, redis: RedisServer) -> None:
    """The origin answered `success = false` once."""
    process = await world.process()
    world.origin.failing = True
    await world.read(process, USER)
    await world.settle()
    world.origin.failing = False
    await world.read(process, USER)


async def two_callers(world: World, redis: RedisServer) -> None:
    """The same request with different credentials, and with none."""
    process = await world.process()
    for caller in ("ann", "ben", ""):
        await world.read(process, Asked(1, caller=caller))
        await world.settle()
