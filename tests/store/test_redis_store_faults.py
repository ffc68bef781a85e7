"""A Redis that sends garbage, is full, was restarted or forgot the scripts: reads miss, invalidations work."""

import random

import pytest

from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.store import redis_waits
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from tests.support.redis_parts import FOREVER, body_of, cached, filled, leased, ready, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

USER = Model.of("user", 1)
KEY = request_key()
INTENT_MS = 60_000


async def _restored(server: RedisServer, store: RedisStore | None = None) -> None:
    """Restores the data of the last SAVE, with its time to live, and waits until the store is connected again."""
    server.kill()
    if store is not None:
        await until(lambda: not store.usable(KEY.hash_key), "the loss to be noticed")
    await server.start()
    if store is not None:
        await ready(store)


class TestSnapshot:
    async def test_entries_and_leases_that_it_brings_back_count_for_nothing(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            await cached(store, KEY)
            grant = await leased(store, request_key(page=2))
            await own_redis.cli("SAVE")
            await store.invalidate(USER, timeout=5)
            await _restored(own_redis, store)
            assert await own_redis.cli("HLEN", KEY.hash_key) == 2
            assert await body_of(store, KEY) is None
            assert not await filled(store, request_key(page=2), grant)
            await cached(store, KEY, b"new")
            assert await body_of(store, KEY) == b"new"
            await leased(store, request_key(page=2))

    async def test_for_a_process_that_starts_after_it_too(self, own_redis: RedisServer) -> None:
        """That process saw no outage; only the run id shows it."""
        async with storing(own_redis.addr) as store:
            await cached(store, KEY)
            await own_redis.cli("SAVE")
            await store.invalidate(USER, timeout=5)
        await _restored(own_redis)
        async with storing(own_redis.addr) as store:
            assert store._topology.nodes()[0].min_born_ms() == 0
            assert await body_of(store, KEY) is None
            await leased(store, KEY)

    async def test_one_that_was_a_replica_of_its_own_successor_counts_for_nothing(self, own_redis: RedisServer) -> None:
        """A master is cut off, and a replica that missed an invalidation is promoted. The old master becomes its
        replica, takes over its data, and is promoted again: the same process with the same `run_id`, but with old data.
        """
        async with RedisServer(replica_of=own_redis) as successor:
            async with storing(own_redis.addr) as store:
                await cached(store, KEY)

                async def there() -> bool:
                    return bool(await successor.cli("EXISTS", KEY.hash_key))

                await until(there, "the entry to be replicated")
                await successor.cli("REPLICAOF", "NO", "ONE")
                await store.invalidate(USER, timeout=5)
            await own_redis.cli("REPLICAOF", "127.0.0.1", successor.port)

            async def back() -> bool:
                return bool(await own_redis.cli("EXISTS", KEY.hash_key))

            await until(back, "the entry to be back")
            await own_redis.cli("REPLICAOF", "NO", "ONE")
            async with storing(own_redis.addr) as store:
                assert await body_of(store, KEY) is None
                await cached(store, KEY, b"new")
                assert await body_of(store, KEY) == b"new"

    async def test_a_mark_still_closes_but_nobody_shares_by_its_id(self, own_redis: RedisServer) -> None:
        """A fetch that is shared on that id may have begun before later invalidations."""
        async with storing(own_redis.addr) as store:
            await store.invalidate(USER, timeout=5, window_ms=INTENT_MS)
            await own_redis.cli("SAVE")
            await _restored(own_redis, store)
            grant = await store.acquire(KEY, Budget(5))
            assert (grant.kind, grant.token) == ("closed", b"")

    async def test_an_intent_still_stands(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            await store.invalidate(USER, timeout=5, intent=b"a", intent_ms=INTENT_MS)
            await own_redis.cli("SAVE")
            await _restored(own_redis, store)
            assert (await store.acquire(KEY, Budget(5))).kind == "closed"
            await store.invalidate(USER, timeout=5, clear=b"a")
            await leased(store, KEY)

    async def test_a_reload_within_one_process_brings_nothing_back(self) -> None:
        async with RedisServer("enable-debug-command yes") as redis, storing(redis.addr) as store:
            await cached(store, KEY)
            await redis.cli("DEBUG", "RELOAD")
            assert await body_of(store, KEY) == b"body"
            await store.invalidate(USER, timeout=5)
            await redis.cli("DEBUG", "RELOAD")
            assert await body_of(store, KEY) is None


class TestFullRedis:
    async def test_still_deletes_and_takes_no_more(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            await cached(store, KEY)
            grant = await leased(store, request_key(page=2))
            await own_redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
            assert await body_of(store, KEY) == b"body"
            with pytest.raises(RedisUnavailableError, match="memory"):
                await store.acquire(request_key(page=3), Budget(5))
            assert store.usable(KEY.hash_key)
            await store.invalidate(USER, timeout=5, window_ms=INTENT_MS, intent=b"a", intent_ms=INTENT_MS)
            assert await body_of(store, KEY) is None
            assert await own_redis.cli("HEXISTS", KEY.hash_key, b"l" + request_key(page=2).field) == 0
            # If there is nothing to delete, the mark is the first write, and Redis refuses it.
            await store.invalidate(
                Model.of("user", 2), timeout=5, window_ms=INTENT_MS, intent=b"a", intent_ms=INTENT_MS
            )
            assert await store.flush() in {0, 1}
            await own_redis.cli("CONFIG", "SET", "maxmemory", "0")
            assert not await filled(store, request_key(page=2), grant)
            await store.invalidate(USER, timeout=5, clear=b"a")

    async def test_can_be_connected_to(self, own_redis: RedisServer) -> None:
        await own_redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        async with storing(own_redis.addr) as store:
            assert await body_of(store, KEY) is None
            await store.invalidate(USER, timeout=5)


class TestForeignData:
    async def test_a_key_that_is_no_hash(self, redis: RedisServer) -> None:
        await redis.cli("SET", KEY.hash_key, "foreign")
        async with storing(redis.addr) as store:
            for call in (store.read(KEY, Budget(5)), store.acquire(KEY, Budget(5))):
                with pytest.raises(RedisUnavailableError, match="wrong kind"):
                    await call
            assert store.usable(KEY.hash_key)
            await store.invalidate(USER, timeout=5)
            await cached(store, KEY)

    @pytest.mark.parametrize("size", [0, 10, 8 << 20])
    async def test_a_field_that_is_no_entry_is_a_miss_and_overwritten(self, redis: RedisServer, size: int) -> None:
        await redis.cli("HSET", KEY.hash_key, b"e" + KEY.field, bytes(size))
        async with storing(redis.addr) as store:
            assert await body_of(store, KEY) is None
            await cached(store, KEY)
            assert await body_of(store, KEY) == b"body"

    async def test_one_that_is_too_large_to_be_read_at_all_is_removed(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading it looks like an outage, which must not happen at each read."""
        monkeypatch.setattr(redis_waits, "_PATIENCE", 0.0)  # however late the event loop is
        async with storing(redis.addr) as store:
            await redis.cli("HSET", KEY.hash_key, b"e" + KEY.field, bytes(8 << 20))
            with pytest.raises(RedisUnavailableError):
                await store.read(KEY, Budget(0.001))

            async def gone() -> bool:
                return not await redis.cli("EXISTS", KEY.hash_key)

            await until(gone, "the field to be removed")
            await ready(store)
            await cached(store, KEY)
            assert await body_of(store, KEY) == b"body"

    async def test_one_of_our_own_that_could_not_be_read_stays(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store:
            await cached(store, KEY, bytes(1 << 20))
            own_redis.freeze()
            with pytest.raises(RedisUnavailableError):
                await store.read(KEY, Budget())
            own_redis.thaw()
            await ready(store)
            assert await body_of(store, request_key(page=2)) is None  # its reply comes after those to earlier commands
            assert await own_redis.cli("HLEN", KEY.hash_key) == 1

    async def test_anothers_answer_under_our_name_is_a_miss_and_overwritten(self, redis: RedisServer) -> None:
        """To the script, which cannot compare identities, it looks fresh."""
        other = request_key(page=2)
        async with storing(redis.addr) as store:
            await cached(store, other)
            value = await redis.cli("HGET", KEY.hash_key, b"e" + other.field)
            await redis.cli("HSET", KEY.hash_key, b"e" + KEY.field, value)
            assert await body_of(store, KEY) is None
            await cached(store, KEY, b"ours")
            assert await body_of(store, KEY) == b"ours"

    @pytest.mark.parametrize("seed", range(3))
    async def test_any_bytes_in_any_field_are_no_error_and_an_invalidation_clears_them(
        self, redis: RedisServer, seed: int
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 -- the same dice each time
        names = [b"e" + KEY.field, b"l" + KEY.field, b"m", b"w", b"w*", b"w1", b"", b"x", b"e", b"l"]
        future = b"9999999999999"
        values = [b"", b" ", b"a b", b"-5", b"nan", b"1 a %b %b 5\n" % (future, future), b"a b 1 " + future]
        async with redis.client() as client, storing(redis.addr) as store:
            for _ in range(60):
                values[0] = chance.randbytes(20)
                fields = {name: chance.choice(values) for name in chance.sample(names, chance.randint(1, 10))}
                await client.flushall()
                await client.hset(KEY.hash_key, mapping=fields)  # type: ignore[arg-type]
                assert await body_of(store, KEY) is None
                assert (await store.acquire(KEY, Budget(5))).kind in {"lease", "closed"}, fields
                await store.invalidate(USER, timeout=5)
                await cached(store, KEY)
                assert await body_of(store, KEY) == b"body"

    async def test_an_intent_or_a_mark_that_reads_like_ours_closes_and_no_more(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            soon = 1000 * int((await redis.cli("TIME"))[0]) + 60_000
            await redis.cli("HSET", KEY.hash_key, "w1", str(soon), "m", f"run id {soon}")
            assert (await store.acquire(KEY, Budget(5))).kind == "closed"
            await redis.cli("HSET", KEY.hash_key, "w1", "9999999999999", "m", "run id 9999999999999")
            assert (await store.acquire(KEY, Budget(5))).kind == "lease", "they are further ahead than they can be"


class TestForgottenScripts:
    async def test_hits_fills_and_invalidations_go_on(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await redis.cli("SCRIPT", "FLUSH")
            grant = await leased(store, KEY)
            await redis.cli("SCRIPT", "FLUSH")
            store.fill(KEY, grant, b"body", FOREVER, 0)

            async def stored() -> bool:
                return await body_of(store, KEY) == b"body"

            await until(stored, "the fill that Redis did not know at first")
            await redis.cli("SCRIPT", "FLUSH")
            assert await body_of(store, KEY) == b"body"
            await store.invalidate(USER, timeout=5)
            assert await body_of(store, KEY) is None
            await redis.cli("SCRIPT", "FLUSH")
            store.release(KEY, await leased(store, KEY))
            await redis.cli("SCRIPT", "FLUSH")
            assert await store.flush() in {0, 1}
