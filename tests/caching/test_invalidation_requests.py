"""What depends on a tag is removed before the tag's invalidation is confirmed, or held with it."""

import asyncio

import pytest

from proxy.caching.held import Intent
from proxy.caching.invalidations import Invalidations
from proxy.store.dependants import BATCH
from proxy.store.redis_node import Budget
from tests.support.scripted_store import Counts, Refusing
from tests.support.servers.waiting import until

MANY = tuple(f"slug/{number}" for number in range(BATCH + 1))


@pytest.fixture
async def store() -> Refusing:
    store = Refusing()
    store.up = True
    store.dependants["product/7"] = ("slug/cup", "slug/mug")
    return store


async def test_it_is_removed_then_forgotten_then_the_tag_counts(store: Refusing) -> None:
    counts = Counts()
    await Invalidations(store, counts).invalidate("product/7", source="event")
    assert store.removed == [("slug/cup", "slug/mug")]
    assert store.forgotten == [("product/7", ("slug/cup", "slug/mug"))]
    assert len(counts.applied) == 1


async def test_a_great_many_go_in_batches(store: Refusing) -> None:
    store.dependants["product/7"] = MANY
    await Invalidations(store, Counts()).invalidate("product/7", source="event")
    assert list(map(len, store.removed)) == [BATCH, 1]


async def test_what_redis_does_not_take_is_held_and_nothing_counts_before(store: Refusing) -> None:
    counts = Counts()
    ours = Invalidations(store, counts)
    store.refused_models = {"slug/mug"}
    waiting = asyncio.create_task(ours.invalidate("product/7", source="event"))
    await until(lambda: ours.held_back("slug/mug") and ours.held_back("product/7"), "them to be held")
    running = asyncio.create_task(ours.run())
    await until(lambda: len(store.removed) > 2, "some retries")
    assert (waiting.done(), counts.applied, store.forgotten) == (False, [], [])
    store.refused_models = set()
    await waiting
    assert (len(counts.applied), ours.pending) == (1, 0)
    running.cancel()
    await asyncio.wait([running])


async def test_an_own_write_has_its_budget_for_all_of_it(store: Refusing) -> None:
    ours = Invalidations(store, Counts())
    store.refused_models = {"slug/mug"}
    now = asyncio.get_running_loop().time()
    await ours.own_write("product/7", Intent(b"i", now + 60), Budget())
    assert ours.held_back("product/7")
    assert ours.held_back("slug/mug")
    assert not ours.held_back("slug/pot")


async def test_while_anything_is_held_answers_that_may_depend_on_it_are_not_trusted(store: Refusing) -> None:
    ours = Invalidations(store, Counts())
    assert not ours.held_back("slug/pot", dependent=True)
    ours.invalidate_soon("product/7")
    assert ours.held_back("slug/pot", dependent=True)
    assert not ours.held_back("slug/pot")


async def test_what_was_removed_is_done_again_on_another_master(store: Refusing) -> None:
    ours = Invalidations(store, Counts())
    await ours.invalidate("product/7", source="event")
    store.again(asyncio.get_running_loop().time())
    assert ours.held_back("slug/mug")


async def test_after_another_master_nothing_counts_before_the_flush(store: Refusing) -> None:
    ours = Invalidations(store, Counts())
    store.again(None)
    waiting = asyncio.create_task(ours.invalidate("product/8", source="event"))
    await until(lambda: len(store.asked) == 1, "it to be asked for")
    assert not waiting.done()
    await ours.close()
    await waiting
    assert store.flushes == 1
