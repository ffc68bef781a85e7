"""Schedules of products that are read by slug and in lists while single ones change; they judge nothing themselves."""

from tests.consistency.products import AskedProduct
from tests.consistency.scenes import policy_with
from tests.consistency.world import World
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

MUG = 1
BY_ID, BY_SLUG, IN_LIST = (AskedProduct(MUG, by) for by in ("id", "slug", "list"))
_WINDOW_OVER = 1
"""Seconds; after an event, no lease is granted for 0.1 s."""


async def a_list_that_an_event_names(world: World, redis: RedisServer) -> None:
    """A product and a list with it are stored; the product changes, and its event names both."""
    process = await world.process()
    for asked in (BY_ID, IN_LIST):
        await world.read(process, asked)
    await world.settle()
    world.checker.commit(BY_ID.model)
    await world.deliver(process, MUG)
    await until(lambda: not len(process.deliveries), "the event to be applied")
    for asked in (BY_ID, IN_LIST):
        await world.read(process, asked)


async def a_list_that_a_write_names(world: World, redis: RedisServer) -> None:
    """The same, with a write through another proxy."""
    reader, writer = await world.process(), await world.process()
    for asked in (BY_ID, BY_SLUG, IN_LIST):
        await world.read(reader, asked)
    await world.settle()
    await world.writing(writer, MUG)
    for asked in (BY_ID, BY_SLUG, IN_LIST):
        await world.read(reader, asked)


async def a_slug_whose_product_changes(world: World, redis: RedisServer) -> None:
    """An answer by slug is stored; the event names only its product."""
    reader, other = await world.process(), await world.process()
    await world.read(reader, BY_SLUG)
    await world.settle()
    world.checker.commit(BY_SLUG.model)
    await world.deliver(other, MUG)
    await until(lambda: not len(other.deliveries), "the event to be applied")
    await world.read(reader, BY_SLUG)


async def a_slug_fetched_while_its_product_changes(world: World, redis: RedisServer) -> None:
    """The fetch reads v0 and ends after the event of v1 is acknowledged; another caller joined it after that."""
    reader, other = await world.process(), await world.process()
    world.origin.gated = True
    world.reading(reader, BY_SLUG)
    await until(lambda: world.origin.held, "the fetch")
    world.checker.commit(BY_SLUG.model)
    await world.deliver(other, MUG)
    await until(lambda: not len(other.deliveries), "the event to be applied")
    world.reading(reader, BY_SLUG)
    await world.settle()
    await world.quiet()
    await world.clock.jump(redis, _WINDOW_OVER)
    await world.read(reader, BY_SLUG)


async def a_policy_that_was_changed(world: World, redis: RedisServer) -> None:
    """The newer version distinguishes callers between which the older one shared answers."""
    older = await world.process(policy=policy_with("vary: ''\n        propagate: authorization"))
    newer = await world.process()
    await world.read(older, AskedProduct(MUG, "id", "ann"))
    await world.settle()
    await world.read(newer, BY_ID)
