"""How far a flush is, as `/stats` tells it, and why an order is not confirmed yet."""

import asyncio

from proxy.admin import flushing
from tests.support.in_process import Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_a_flush_is_told_while_it_is_wanted_and_how_far_it_is(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        core = (await stack.process()).core
        assert core.store is not None
        assert flushing.told(core) is None
        own_redis.freeze()
        asked = asyncio.create_task(core.invalidations.flush("asked for", service="media.MediaService"))
        await until(lambda: core.invalidations.pending == 1, "the flush to be wanted")
        core.store.flushing.share, core.store.flushing.tags = 0.25, 7
        found = flushing.told(core)
        assert found is not None
        assert (found["reason"], found["services"], found["share"]) == ("asked for", ["media.MediaService"], 0.25)
        assert "the flush is under way (25 % after 0 s)" in flushing.note(core, "")
        assert flushing.note(core, "it is away").startswith("Redis has not confirmed it yet (it is away)")
        own_redis.thaw()
        await asked
        assert flushing.told(core) is None
