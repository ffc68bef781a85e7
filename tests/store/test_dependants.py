"""Dependants of a tag in real Redis servers: registered, returned, removed, forgotten; and answers never stored."""

import time
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.crc import key_slot

from examples.pb import product_pb2 as pb
from proxy.calls.call import Call
from proxy.calls.keys import Keys, RequestKey
from proxy.calls.reads import Verdict
from proxy.errors import RedisUnavailableError
from proxy.policy.loading import load_policy
from proxy.store import dependants
from proxy.store.dependants import Left, Overtaken
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from tests.support.products import SERVICE
from tests.support.redis_parts import body_of, filled, leased, ready, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until
from tests.support.services import POLICIES

KEYS = Keys("media", (), load_policy(str(POLICIES / "product.yaml")).reads)
FURTHER = Verdict(further_tags=("product/7",))
DEPENDANTS = KEYS.of_dependants("product/7")


def slug_key(slug: str = "mug") -> RequestKey:
    body = pb.GetProductBySlugRequest(slug=slug).SerializeToString()
    key = KEYS.of_call(Call(f"{SERVICE}GetProductBySlug", body))
    assert key is not None
    return key


async def stored(store: RedisStore, slug: str = "mug", verdict: Verdict = FURTHER) -> Overtaken:
    """Runs a complete miss; returns why the answer was not stored."""
    key = slug_key(slug)
    began = time.monotonic()
    grant = await leased(store, key)
    refusal = await store.depend(key, verdict, began, Budget(5))
    if refusal:
        store.release(key, grant)
    else:
        assert await filled(store, key, grant, meta=verdict)
    return refusal


async def depend(store: RedisStore, began: float, tags: Sequence[str] = ("product/7",)) -> Overtaken:
    return await store.depend(slug_key(), Verdict(further_tags=tuple(tags)), began, Budget(5))


async def left(store: RedisStore, tag: str = "product/7", window_ms: int = 0) -> tuple[str, ...]:
    """The dependants that the tag's invalidation returns."""
    found = await store.invalidate(tag, timeout=5, window_ms=window_ms)
    return tuple(sorted(found.tags)) if found is not None else ()


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[RedisStore]:
    async with storing(redis.addr, keys=KEYS, dependants=True) as store:
        yield store


async def test_an_invalidation_is_told_what_depends_on_its_tag(store: RedisStore) -> None:
    assert [await stored(store, slug) for slug in ("mug", "cup")] == ["", ""]
    assert await left(store, "product/8") == ()
    assert await left(store) == ("slug/cup", "slug/mug")
    await store.remove(("slug/cup",), 5)
    assert [await body_of(store, slug_key(slug)) for slug in ("mug", "cup")] == [b"body", None]


async def test_what_was_removed_is_forgotten_unless_it_was_stored_again(store: RedisStore, redis: RedisServer) -> None:
    await stored(store, "cup")
    await stored(store, "mug")
    found = await store.invalidate("product/7", timeout=5)
    assert found is not None
    later = Left(found.tags, found.at_ms + 1)
    await redis.cli("HSET", DEPENDANTS, "dslug/mug", f"{found.at_ms + 1} {found.at_ms + 60_000}")
    store.forget("product/7", later, ("slug/mug", "slug/cup", "slug/unknown"))
    assert await left(store) == ("slug/mug",)
    assert await redis.cli("HGET", DEPENDANTS, "n") == b"1"


class TestAges:
    async def test_a_fetch_from_before_an_invalidation_is_not_stored(self, store: RedisStore) -> None:
        began = time.monotonic()
        await left(store)
        assert await depend(store, began) == "invalidated"

    async def test_nor_one_from_within_its_window(self, store: RedisStore) -> None:
        await left(store, window_ms=60_000)
        assert await depend(store, time.monotonic()) == "invalidated"

    async def test_a_shorter_window_ends_no_longer_one(self, store: RedisStore) -> None:
        await left(store, window_ms=60_000)
        await left(store)
        assert await depend(store, time.monotonic()) == "invalidated"

    async def test_one_from_after_it_is(self, store: RedisStore) -> None:
        await left(store)

        async def entered() -> bool:
            return await depend(store, time.monotonic()) == ""

        await until(entered, "the margin to be over")

    async def test_the_mark_stays_for_longer_than_a_fetch_may_take(self, store: RedisStore, redis: RedisServer) -> None:
        await left(store, window_ms=1000)
        assert 15_000 < await redis.cli("PTTL", DEPENDANTS) <= 16_000
        assert await depend(store, time.monotonic() - 10.1) == "late"

    async def test_a_mark_of_a_clock_that_was_set_back_counts_once(self, store: RedisStore, redis: RedisServer) -> None:
        await left(store)
        await redis.cli("HSET", DEPENDANTS, "m", "9999999999999 9999999999999")
        assert await depend(store, time.monotonic()) == "invalidated"

        async def entered() -> bool:
            return await depend(store, time.monotonic()) == ""

        await until(entered, "it to count no more")


class TestIntents:
    async def test_while_a_write_is_under_way_nothing_is_stored(self, store: RedisStore) -> None:
        for intent in (b"one", b"other"):
            await store.invalidate("product/7", timeout=5, intent=intent, intent_ms=60_000)
        await store.invalidate("product/7", timeout=5, clear=b"one")
        assert await depend(store, time.monotonic()) == "invalidated"
        await store.invalidate("product/7", timeout=5, clear=b"other")

        async def entered() -> bool:
            return await depend(store, time.monotonic()) == ""

        await until(entered, "the writes to be over")

    async def test_an_intent_that_ended_by_itself_counts_for_fetches_from_before(
        self, store: RedisStore, redis: RedisServer
    ) -> None:
        """Its write may have been committed as late as that."""
        await store.invalidate("product/7", timeout=5, intent=b"one", intent_ms=1)

        async def over() -> bool:
            return await depend(store, time.monotonic()) == ""

        began = time.monotonic()
        await until(over, "the intent to end")
        assert await depend(store, began) == "invalidated"

    async def test_more_than_there_is_room_for_share_one(self, store: RedisStore, redis: RedisServer) -> None:
        for number in range(258):
            await store.invalidate("product/7", timeout=5, intent=b"%d" % number, intent_ms=60_000)
        assert await redis.cli("HLEN", DEPENDANTS) == 258  # 256 intents, the shared one, the mark
        assert await depend(store, time.monotonic()) == "invalidated"


class TestBounds:
    async def test_a_full_tag_takes_no_more_until_some_have_run_out(
        self, store: RedisStore, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dependants, "MOST_DEPENDANTS", 2)
        assert [await stored(store, slug) for slug in ("mug", "cup", "pot")] == ["", "", "crowded"]
        assert [await stored(store, slug) for slug in ("pot",)] == ["crowded"]
        await redis.cli("HSET", DEPENDANTS, "dslug/cup", "1 2")
        assert await stored(store, "pot") == "crowded"  # expired dependants were removed just before
        await redis.cli("HSET", DEPENDANTS, "p", "0")
        assert await stored(store, "pot") == ""
        assert await left(store) == ("slug/mug", "slug/pot")

    async def test_ten_thousand(self, store: RedisStore, redis: RedisServer) -> None:
        now = await redis.cli("TIME")
        till = int(now[0]) * 1000 + 600_000
        for at in range(0, 10_000, 1000):
            fields = [text for each in range(at, at + 1000) for text in (f"d{each}", f"1 {till}")]
            await redis.cli("HSET", DEPENDANTS, *fields)
        await redis.cli("HSET", DEPENDANTS, "n", 10_000)
        assert await stored(store) == "crowded"
        assert len(await left(store)) == 10_000


class TestRedis:
    async def test_a_full_one_has_not_taken_what_it_cannot_mark(self, own_redis: RedisServer) -> None:
        await own_redis.cli("CONFIG", "SET", "maxmemory", "1")
        async with storing(own_redis.addr, keys=KEYS, dependants=True) as store:
            with pytest.raises(RedisUnavailableError, match="full"):
                await store.invalidate("product/7", timeout=5)
            await own_redis.cli("CONFIG", "SET", "maxmemory", "0")
            await store.invalidate("product/7", timeout=5)

    async def test_a_process_whose_policy_has_none_tells_and_marks_them_too(self, redis: RedisServer) -> None:
        """Two versions of a policy may run side by side for a while."""
        async with (
            storing(redis.addr, keys=KEYS, dependants=True) as store,
            storing(redis.addr, keys=Keys("media"), dependants=True) as older,
        ):
            await stored(store)
            began = time.monotonic()
            assert await left(older) == ("slug/mug",)
            await left(older, "product/8")
            assert await depend(store, began) == "invalidated"
            assert await depend(store, began, ("product/8",)) == "invalidated"

    async def test_one_that_was_no_hash_of_ours(self, store: RedisStore, redis: RedisServer) -> None:
        await redis.cli("SET", DEPENDANTS, "something")
        began = time.monotonic()
        with pytest.raises(RedisUnavailableError):
            await depend(store, began)
        assert await left(store) == ()
        assert await depend(store, began) == "invalidated"


class TestCluster:
    async def test_tags_lie_in_any_slot_and_what_depends_beside_its_tag(self) -> None:
        async with RedisCluster() as cluster, storing(cluster.addr, keys=KEYS, dependants=True) as store:
            tags = tuple(f"product/{number}" for number in range(64))
            assert {key_slot(KEYS.of_tag(tag)) for tag in tags} == {key_slot(KEYS.of_dependants(tag)) for tag in tags}
            assert len({(await cluster.owner(KEYS.of_tag(tag))).port for tag in tags}) == 3
            for slug in ("mug", "cup", "pot"):
                assert await stored(store, slug, Verdict(further_tags=tags)) == ""
            for tag in tags:
                assert await left(store, tag) == ("slug/cup", "slug/mug", "slug/pot")
            await store.remove(("slug/cup", "slug/mug"), 5)
            found = [await body_of(store, slug_key(slug)) for slug in ("mug", "cup", "pot")]
            assert found == [None, None, b"body"]

    async def test_a_master_that_comes_back_has_everything_flushed(self) -> None:
        """It may have forgotten dependants of its tags, whose answers are on the other masters."""
        async with RedisCluster("cluster-require-full-coverage no") as cluster:
            async with storing(cluster.addr, keys=KEYS, dependants=True) as store:
                renewals: list[float | None] = []
                store.on_renewal(renewals.append)
                began = time.monotonic()
                cluster.servers[0].kill()
                await until(lambda: not all(node.usable for node in store.topology.nodes()), "the loss to be seen")
                await cluster.servers[0].start()
                await cluster.ready()
                await ready(store)
                assert renewals == [None]
                tags = tuple(f"product/{number}" for number in range(16))
                assert await depend(store, began, tags) == "another master"

    async def test_its_start_does_not(self) -> None:
        renewals: list[float | None] = []
        async with RedisCluster() as cluster, storing(cluster.addr, keys=KEYS, dependants=True, up=False) as store:
            store.on_renewal(renewals.append)
            await ready(store)
            assert None not in renewals
