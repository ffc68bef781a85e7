"""A new Redis master: what the previous one confirmed lately is repeated on it, and bypassed until then."""

import time
from collections.abc import AsyncIterator

import pytest_asyncio

from proxy.caching.held import Intent
from proxy.caching.invalidations import Invalidations
from proxy.policy.builtin.model import Model
from proxy.store.redis_node import Budget
from tests.support.redis_parts import body_of, cached, request_key, running, storing
from tests.support.scripted_store import Counts, Refusing
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

USER, OTHER = Model.of("User", 1), Model.of("User", 2)


@pytest_asyncio.fixture
async def store() -> Refusing:
    store = Refusing()
    store.up = True
    return store


@pytest_asyncio.fixture
async def invalidations(store: Refusing) -> AsyncIterator[Invalidations]:
    invalidations = Invalidations(store, Counts())
    async with running(invalidations.run()):
        yield invalidations


async def test_it_is_done_again_and_bypassed_until_then(store: Refusing, invalidations: Invalidations) -> None:
    await invalidations.invalidate(USER, source="event")
    store.up = False
    store.again(time.monotonic())
    assert invalidations.held_back(USER)
    assert not invalidations.held_back(OTHER)
    store.up = True
    await until(lambda: not invalidations.held_back(USER), "it to be done again")
    assert [model for model, _ in store.asked][-1] == USER
    assert store.asked[-1][1]["window_ms"] == 100


async def test_what_the_retries_applied_is_done_again_too(store: Refusing, invalidations: Invalidations) -> None:
    store.up = False
    invalidations.invalidate_soon(USER)
    store.up = True
    await until(lambda: not invalidations.pending)
    store.again(time.monotonic())
    assert invalidations.held_back(USER)


async def test_a_write_under_way_keeps_its_intent(store: Refusing, invalidations: Invalidations) -> None:
    await invalidations.own_write(USER, Intent(b"1", time.monotonic() + 30), Budget(5))
    store.again(time.monotonic())
    await until(lambda: not invalidations.held_back(USER), "it to be done again")
    assert store.asked[-1][1]["intent"] == b"1"
    await invalidations.own_write(USER, Intent(b"1", 0.0), Budget(5), ended=USER.described(""))
    store.again(time.monotonic())
    await until(lambda: not invalidations.held_back(USER), "it to be done again")
    assert "intent" not in store.asked[-1][1]


async def test_a_flush_is_done_again(store: Refusing, invalidations: Invalidations) -> None:
    await invalidations.flush("on purpose")
    store.again(time.monotonic())
    assert invalidations.held_back(OTHER)
    await until(lambda: store.flushes == 2 and not invalidations.pending, "the second flush")


async def test_nobody_knows_what_one_that_was_master_before_has_missed(
    store: Refusing, invalidations: Invalidations
) -> None:
    store.again(None)
    assert invalidations.held_back(OTHER)
    await until(lambda: store.flushes == 1 and not invalidations.pending, "the flush")


async def test_the_first_master_of_all_has_missed_nothing(store: Refusing, invalidations: Invalidations) -> None:
    store.again(time.monotonic())
    assert (invalidations.pending, store.flushes) == (0, 0)


async def test_on_real_servers(own_redis: RedisServer, redis: RedisServer) -> None:
    key = request_key()
    async with (
        FaultyTcp(own_redis.port) as way,
        storing(way.addr) as mine,
        storing(redis.addr) as others,
        running((invalidations := Invalidations(mine, Counts())).run()),
    ):
        await cached(others, key)
        await invalidations.invalidate(USER, source="event")  # on the old master, which nobody else uses any more
        assert await body_of(others, key) == b"body"
        way.target = ("127.0.0.1", redis.port)
        (node,) = mine.topology.nodes()
        node.drop("on purpose")

        async def gone() -> bool:
            return await body_of(others, key) is None

        await until(gone, "the new server to have the invalidation")
