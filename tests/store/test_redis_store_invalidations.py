"""What an invalidation or a flush removes, and what it leaves (marks, write intents); nothing can prevent it."""

import asyncio

import pytest

from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.store.model_hash import MOST_FIELDS
from proxy.store.redis_node import Budget, new_token
from proxy.store.redis_store import RedisStore
from tests.support.media_methods import MediaKeys, verdict
from tests.support.redis_parts import body_of, cached, filled, leased, ready, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

USER = Model.of("user", 1)
KEY = request_key()
INTENT_MS = 60_000
OWNED = verdict(aliases=("1",))


async def _kind(store: RedisStore) -> str:
    """The kind of reply that a reader gets; if it is a lease, it is released."""
    grant = await store.acquire(KEY, Budget(5))
    if grant.kind == "lease":
        store.release(KEY, grant)
    return grant.kind


class TestRemoval:
    async def test_of_every_page_collection_and_caller_at_once(self, redis: RedisServer) -> None:
        keys = [request_key(page=page, caller=caller) for page in range(5) for caller in ("", "a", "b")]
        async with storing(redis.addr) as store:
            for key in (*keys, request_key(2)):
                await cached(store, key)
            await store.invalidate(USER, timeout=5)
            assert [await body_of(store, key) for key in keys] == [None] * len(keys)
            assert await body_of(store, request_key(2)) == b"body"
            assert await redis.cli("EXISTS", KEY.hash_key) == 0

    async def test_of_leases_so_what_was_fetched_before_is_refused(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            grant = await leased(store, KEY)
            await store.invalidate(USER, timeout=5)
            assert not await filled(store, KEY, grant)
            new = await leased(store, KEY)
            assert not await filled(store, KEY, grant)
            assert await filled(store, KEY, new)

    async def test_of_a_key_that_was_evicted_is_a_refusal_too(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            grant = await leased(store, KEY)
            await redis.cli("DEL", KEY.hash_key)
            assert not await filled(store, KEY, grant)

    async def test_of_nothing(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await store.invalidate(USER, timeout=5)
            assert await redis.cli("DBSIZE") == 0

    async def test_with_no_more_than_its_time(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            own_redis.freeze()
            loop = asyncio.get_running_loop()
            begun = loop.time()
            with pytest.raises(RedisUnavailableError):
                await store.invalidate(USER, timeout=0.05)
            assert loop.time() - begun < 1


class TestWindow:
    async def test_no_lease_while_it_is_open_then_leases_again(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await store.invalidate(USER, timeout=5, window_ms=100)
            assert await _kind(store) == "closed"
            assert (await store.acquire(KEY, Budget(5), take_over=True)).kind == "closed"

            async def open_again() -> bool:
                return await _kind(store) == "lease"

            await until(open_again, "the window to close", timeout=2)

    async def test_a_later_shorter_one_does_not_end_it(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await store.invalidate(USER, timeout=5, window_ms=INTENT_MS)
            await store.invalidate(USER, timeout=5)
            assert await _kind(store) == "closed"

    async def test_all_readers_are_told_one_id_which_every_invalidation_changes(self, redis: RedisServer) -> None:
        """Readers that share a fetch on the id share one that began after the invalidation."""
        seen: set[bytes] = set()
        async with storing(redis.addr) as one, storing(redis.addr) as other:
            for window_ms, intent in ((INTENT_MS, b""), (0, b""), (0, b"a"), (INTENT_MS, b"b"), (0, b"")):
                await one.invalidate(USER, timeout=5, window_ms=window_ms, intent=intent, intent_ms=INTENT_MS)
                grants = [await store.acquire(KEY, Budget(5)) for store in (one, other, one)]
                assert {grant.kind for grant in grants} == {"closed"}
                assert len({grant.token for grant in grants}) == 1
                assert grants[0].token not in {b"", *seen}
                seen.add(grants[0].token)


class TestIntents:
    async def _begin(self, store: RedisStore, intent: bytes, life_ms: int = INTENT_MS) -> None:
        await store.invalidate(USER, timeout=5, intent=intent, intent_ms=life_ms)

    async def _end(self, store: RedisStore, intent: bytes) -> None:
        await store.invalidate(USER, timeout=5, clear=intent)

    async def test_no_lease_from_begin_to_end(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await self._begin(store, b"a")
            assert await _kind(store) == "closed"
            await self._end(store, b"a")
            assert await _kind(store) == "lease"

    async def test_several_overlap(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await self._begin(store, b"a")
            await self._begin(store, b"b")
            await self._end(store, b"a")
            assert await _kind(store) == "closed"
            await store.invalidate(USER, timeout=5, window_ms=0)  # an event does not change that
            assert await _kind(store) == "closed"
            await self._end(store, b"unknown")
            assert await _kind(store) == "closed"
            await self._end(store, b"b")
            assert await _kind(store) == "lease"

    async def test_one_of_a_process_that_died_ends_by_itself(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await self._begin(store, b"a", 100)
            assert await _kind(store) == "closed"

            async def open_again() -> bool:
                return await _kind(store) == "lease"

            await until(open_again, "the intent to end", timeout=2)

    async def test_setting_it_again_moves_its_end(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await self._begin(store, b"a")
            await self._begin(store, b"a", 1)

            async def open_again() -> bool:
                return await _kind(store) == "lease"

            await until(open_again, "the intent to end", timeout=2)

    async def test_the_key_outlives_all_that_is_in_it(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=1, stale=1) as store:
            await self._begin(store, b"long", 100_000)
            await self._begin(store, b"short", 10)
            assert await redis.cli("PTTL", KEY.hash_key) > 100_000
            await self._end(store, b"long")
            await self._end(store, b"short")
            await cached(store, KEY)
            assert await redis.cli("PTTL", KEY.hash_key) > 2000
            await leased(store, request_key(page=2))
            assert await redis.cli("PTTL", KEY.hash_key) > 10_000
            await cached(store, request_key(page=3))
            assert await redis.cli("PTTL", KEY.hash_key) > 9000


class TestBound:
    async def test_of_entries(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            for page in range(MOST_FIELDS + 50):
                await cached(store, request_key(page=page))
            assert await redis.cli("HLEN", KEY.hash_key) == MOST_FIELDS
            assert await body_of(store, request_key(page=MOST_FIELDS + 49)) == b"body"

    async def test_of_leases(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            for page in range(MOST_FIELDS):
                await leased(store, request_key(page=page))
            grant = await store.acquire(request_key(page=MOST_FIELDS), Budget(5))
            assert (grant.kind, grant.token) == ("closed", b"")
            assert await redis.cli("HLEN", KEY.hash_key) == MOST_FIELDS

    async def test_dead_leases_make_room_first(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await cached(store, KEY)
            dead = {b"l%d" % number: b"%b token 1 2" % store._topology.nodes()[0].run_id for number in range(255)}
            async with redis.client() as client:
                await client.hset(KEY.hash_key, mapping=dead)  # type: ignore[arg-type]
            await leased(store, request_key(page=2))
            assert await body_of(store, KEY) == b"body"
            assert await redis.cli("HLEN", KEY.hash_key) == 2

    async def test_of_intents_beyond_which_they_share_one_that_ends_by_itself(self, redis: RedisServer) -> None:
        intents = [new_token() for _ in range(MOST_FIELDS + 50)]
        async with storing(redis.addr) as store:
            for intent in intents:
                await store.invalidate(USER, timeout=5, intent=intent, intent_ms=INTENT_MS)
            assert await redis.cli("HLEN", KEY.hash_key) == MOST_FIELDS
            for intent in intents:
                await store.invalidate(USER, timeout=5, clear=intent)
            assert set(await redis.cli("HKEYS", KEY.hash_key)) == {b"w*", b"m"}
            assert await _kind(store) == "closed"


async def test_an_intent_that_is_refused_is_not_taken_for_set(own_redis: RedisServer) -> None:
    """Besides another intent that stands for longer, nothing else is written that could be refused."""
    async with storing(own_redis.addr) as store:
        await store.invalidate(USER, timeout=5, intent=b"other", intent_ms=600_000)
        await own_redis.cli("HDEL", KEY.hash_key, "m")
        await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(RedisUnavailableError, match="NOREPLICAS"):
            await store.invalidate(USER, timeout=5, intent=b"mine", intent_ms=1000)


class TestFlush:
    async def test_removes_every_model_and_every_lease_of_the_namespace(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            for number in range(1000):
                assert store.fill(request_key(number), await leased(store, request_key(number)), b"x", OWNED, 0)
            under_way = await leased(store, request_key(5000))
            assert await store.flush() == 1001
            assert not await filled(store, request_key(5000), under_way)
            assert await body_of(store, request_key(7)) is None
            assert await redis.cli("KEYS", "media:model:*") == []
            assert await store.tag_of("media.MediaService", "1", Budget(5))  # the owner of a file does not change

    async def test_leaves_others_alone(self, redis: RedisServer) -> None:
        others = MediaKeys("media2", ("authorization",))
        async with storing(redis.addr) as store, storing(redis.addr, keys=others) as other:
            await cached(other, request_key(keys=others))
            await redis.cli("SET", "model:1", "not ours")
            await redis.cli("SET", "media:models", "not ours")
            await cached(store, KEY)
            assert await store.flush() == 1
            assert await body_of(other, request_key(keys=others)) == b"body"
            assert await redis.cli("DBSIZE") == 3

    async def test_leaves_the_intents_of_writes_that_are_under_way(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await store.invalidate(USER, timeout=5, intent=b"a", intent_ms=INTENT_MS)
            before = await store.acquire(KEY, Budget(5))
            await store.flush()
            after = await store.acquire(KEY, Budget(5))
            assert (before.kind, after.kind) == ("closed", "closed")
            assert before.token != after.token

    async def test_of_what_is_no_hash(self, redis: RedisServer) -> None:
        await redis.cli("SET", KEY.hash_key, "foreign")
        async with storing(redis.addr) as store:
            assert await store.flush() == 1
            assert await redis.cli("DBSIZE") == 0

    async def test_of_nothing(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            assert await store.flush() == 0

    async def test_says_so_when_redis_goes_away_meanwhile(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            await cached(store, KEY)
            own_redis.freeze()
            flushing = asyncio.create_task(store.flush())
            await asyncio.sleep(0)
            own_redis.kill()
            with pytest.raises(RedisUnavailableError):
                await flushing
            await own_redis.start()
            await ready(store)
            assert await store.flush() == 0
