"""The rules of the fill protocol, on a real Redis: who gets a lease, what may be filled, how long it lives."""

import asyncio

import pytest

from proxy.calls.reads import Verdict
from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.store import redis_store
from proxy.store.redis_node import Budget
from tests.support.media_methods import verdict
from tests.support.redis_parts import FOREVER, KEYS, body_of, cached, filled, leased, ready, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

USER = Model.of("user", 1)
KEY = request_key()


async def _calls(server: RedisServer) -> dict[str, int]:
    stats = await server.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}


class TestHit:
    async def test_is_one_plain_read(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await cached(store, KEY)
            before = await _calls(redis)
            for _ in range(10):
                assert await body_of(store, KEY) == b"body"
            after = await _calls(redis)
        grown = {name: calls - before.get(name, 0) for name, calls in after.items()}
        assert grown["hget"] == 10
        assert grown.get("evalsha", 0) == 0

    async def test_is_the_requests_own_and_its_callers_own(self, redis: RedisServer) -> None:
        keys = [request_key(page=page, caller=caller) for page in (1, 2) for caller in ("", "a", "b")]
        async with storing(redis.addr) as store:
            for key in keys:
                await cached(store, key, repr(key).encode())
            for key in keys:
                assert await body_of(store, key) == repr(key).encode()
            assert await redis.cli("DBSIZE") == 1

    async def test_another_process_sees_it(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as one, storing(redis.addr) as other:
            await cached(one, KEY)
            assert await body_of(other, KEY) == b"body"

    async def test_age_is_by_redis_clock_since_the_fetch_began(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=60) as store:
            await cached(store, KEY)
            value = await redis.cli("HGET", KEY.hash_key, b"e" + KEY.field)
            born = int(value.split(b" ")[2])
            older = value.replace(b" %d " % born, b" %d " % (born - 30_000))
            await redis.cli("HSET", KEY.hash_key, b"e" + KEY.field, older)
            found = await store.read(KEY, Budget(5))
            assert found is not None
            assert found.age == 30

    async def test_none_while_redis_is_away(self, own_redis: RedisServer) -> None:
        own_redis.kill()
        async with storing(own_redis.addr, up=False) as store:
            assert not store.usable(KEY.hash_key)
            for call in (store.read(KEY, Budget()), store.acquire(KEY, Budget()), store.flush()):
                with pytest.raises(RedisUnavailableError):
                    await call


class TestLease:
    async def test_one_fetches_and_the_others_are_told_who(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as one, storing(redis.addr) as other:
            grant = await leased(one, KEY)
            assert grant.run_id == one._topology.nodes()[0].run_id
            for store in (one, other):
                held = await store.acquire(KEY, Budget(5))
                assert (held.kind, held.token) == ("held", grant.token)
            await leased(other, request_key(page=2))

    async def test_a_miss_looks_once_more(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await cached(store, KEY)
            grant = await store.acquire(KEY, Budget(5))
            assert grant.kind == "found"
            assert grant.found is not None
            assert (grant.found.entry.body, grant.found.fresh) == (b"body", True)

    async def test_only_its_holder_fills(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as one, storing(redis.addr) as other:
            grant = await leased(one, KEY)
            held = await other.acquire(KEY, Budget(5))
            stranger = redis_store.Grant("lease", b"0" * 32, grant.run_id)
            assert not await filled(one, KEY, stranger)
            assert await body_of(one, KEY) is None
            assert await filled(one, KEY, grant)
            assert not await filled(one, KEY, grant, b"again")  # it is used up
            assert not await filled(other, KEY, held, b"again")
            assert await body_of(one, KEY) == b"body"

    async def test_no_cache_takes_it_over(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            await cached(store, KEY, b"old")
            first = await store.acquire(KEY, Budget(5), take_over=True)
            second = await store.acquire(KEY, Budget(5), take_over=True)
            assert (first.kind, second.kind) == ("lease", "lease")
            assert not await filled(store, KEY, first, b"first")
            assert await filled(store, KEY, second, b"second")
            assert await body_of(store, KEY) == b"second"

    async def test_one_that_ran_out_is_taken_over_by_one(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_store, "LEASE_MS", 50)
        async with storing(redis.addr) as store:
            first = await leased(store, KEY)
            monkeypatch.setattr(redis_store, "LEASE_MS", 10_000)
            second = first

            async def taken_over() -> bool:
                nonlocal second
                second = await store.acquire(KEY, Budget(5))
                return second.kind == "lease"

            await until(taken_over, "the lease to run out")
            assert (await store.acquire(KEY, Budget(5))).token == second.token
            assert not await filled(store, KEY, first, b"late")
            assert await filled(store, KEY, second)

    async def test_given_back(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            grant = await leased(store, KEY)
            stranger = redis_store.Grant("lease", b"0" * 32, grant.run_id)
            store.release(KEY, stranger)
            assert (await store.acquire(KEY, Budget(5))).kind == "held"
            store.release(KEY, grant)
            assert not await filled(store, KEY, await leased(store, request_key(2)), meta=verdict(1.0, None))
            await leased(store, KEY)

    async def test_given_back_by_who_gave_up_while_asking_for_it(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as store:
            given_up = 0
            for turns in range(6):
                asking = asyncio.create_task(store.acquire(KEY, Budget(5)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                asking.cancel()
                (result,) = await asyncio.gather(asking, return_exceptions=True)
                if isinstance(result, redis_store.Grant):
                    store.release(KEY, result)  # the lease is used, so there is nothing to release
                given_up += isinstance(result, asyncio.CancelledError)
                store.release(KEY, await leased(store, KEY))
            assert given_up >= 3

    async def test_given_back_after_a_freeze_in_which_it_was_asked_for(self, own_redis: RedisServer) -> None:
        async with storing(own_redis.addr) as store, storing(own_redis.addr) as other:
            own_redis.freeze()
            with pytest.raises(RedisUnavailableError):
                await store.acquire(KEY, Budget())
            own_redis.thaw()
            await until(lambda: other.usable(KEY.hash_key))

            async def given_back() -> bool:
                return (await other.acquire(KEY, Budget(5))).kind == "lease"

            await until(given_back, "the lease, before it expires after 10 s", timeout=5)

    async def test_one_from_before_an_outage_is_not_waited_for(self, redis: RedisServer) -> None:
        """Its holder may have been unable to fill it."""
        async with storing(redis.addr) as hit, storing(redis.addr) as spared:
            first = await leased(hit, KEY)
            hit._topology.nodes()[0].drop("an outage")
            await until(lambda: not hit.usable(KEY.hash_key))
            await ready(hit)
            assert (await spared.acquire(KEY, Budget(5))).token == first.token
            second = await leased(hit, KEY)
            assert not await filled(hit, KEY, first, b"late")
            assert await filled(hit, KEY, second)

    async def test_an_entry_from_before_an_outage_is_a_miss(self, redis: RedisServer) -> None:
        async with storing(redis.addr) as hit, storing(redis.addr) as spared:
            await cached(hit, KEY)
            hit._topology.nodes()[0].drop("an outage")
            await until(lambda: not hit.usable(KEY.hash_key))
            await ready(hit)
            assert await body_of(hit, KEY) is None
            assert await body_of(spared, KEY) == b"body"
            await cached(hit, KEY, b"fetched since")
            assert await body_of(hit, KEY) == b"fetched since"


class TestLifetime:
    async def _times(self, redis: RedisServer) -> tuple[int, int, int]:
        value = await redis.cli("HGET", KEY.hash_key, b"e" + KEY.field)
        born, fresh, stale = map(int, value.split(b" ")[2:5])
        return born, fresh - born, stale - born

    async def test_fresh_for_the_ttl_then_stale_for_the_allowance(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=60, stale=600) as store:
            await cached(store, KEY)
            assert (await self._times(redis))[1:] == (60_000, 660_000)

    @pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
    async def test_jitter_only_shortens(self, redis: RedisServer, jitter: float) -> None:
        async with storing(redis.addr, ttl=100) as store:
            assert await filled(store, KEY, await leased(store, KEY), jitter=jitter)
            assert (await self._times(redis))[1] == int(100_000 * (1 - 0.05 * jitter))

    async def test_no_longer_than_a_presigned_url_by_either_clock(self, redis: RedisServer) -> None:
        seconds, _ = await redis.cli("TIME")
        async with storing(redis.addr, ttl=60, stale=600) as store:
            for meta, life in (
                (verdict(None, 5.0), 5000),
                (verdict(seconds + 900.0, 30.0), 30_000),
                (verdict(seconds + 30.0, 900.0), None),
            ):
                await store.invalidate(USER, timeout=5)
                assert await filled(store, KEY, await leased(store, KEY), meta=meta)
                born, fresh, stale = await self._times(redis)
                # The test's clock counts from the fill, the entry's life from its lease.
                assert fresh == life if life else 0 < fresh <= (seconds + 30) * 1000 - born
                assert stale == fresh

    async def test_between_the_two_only_the_stale_time_may_be_cut(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=60, stale=600) as store:
            assert await filled(store, KEY, await leased(store, KEY), meta=verdict(None, 90.0))
            assert (await self._times(redis))[1:] == (60_000, 90_000)

    @pytest.mark.parametrize("meta", [verdict(1.0, None), verdict(None, 0.0), verdict(None, -5.0)])
    async def test_what_is_dead_on_arrival_is_not_stored_and_hides_no_other(
        self, redis: RedisServer, meta: Verdict
    ) -> None:
        async with storing(redis.addr) as store:
            await cached(store, KEY, b"old")
            grant = await store.acquire(KEY, Budget(5), take_over=True)
            assert not await filled(store, KEY, grant, meta=meta)
            assert await body_of(store, KEY) is None
            await leased(store, KEY)

    async def test_an_entry_out_of_time_is_found_as_stale_and_fetched_anew(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=0.05, stale=60) as store:
            await cached(store, KEY)

            async def stale() -> bool:
                found = await store.read(KEY, Budget(5))
                assert found is not None
                return not found.fresh

            await until(stale, "the entry to run out")
            await leased(store, KEY)

    async def test_one_past_its_allowance_is_not_found(self, redis: RedisServer) -> None:
        async with storing(redis.addr, ttl=0.05) as store:
            await cached(store, KEY)
            await redis.cli("PERSIST", KEY.hash_key)  # so the field stays beyond its time, but is not served

            async def gone() -> bool:
                return await body_of(store, KEY) is None

            await until(gone, "the entry to be gone")


MEDIA = "media.MediaService"


class TestAliases:
    async def test_a_fill_tells_of_which_tag_these_are_other_names(self, redis: RedisServer) -> None:
        meta = verdict(aliases=("5", str(2**63 - 1)))
        async with storing(redis.addr, ttl=60, stale=600) as store:
            assert await filled(store, KEY, await leased(store, KEY), meta=meta)
            assert await store.tag_of(MEDIA, "5", Budget(5)) == USER
            assert await store.tag_of(MEDIA, str(2**63 - 1), Budget(5)) == USER
            assert await store.tag_of(MEDIA, "6", Budget(5)) is None
            assert await store.tag_of("another.Service", "5", Budget(5)) is None
            assert await redis.cli("PTTL", KEYS.of_alias(MEDIA, "5")) > 660_000

    @pytest.mark.parametrize("value", [b"", b"\xff"])
    async def test_foreign_bytes_tell_nothing(self, redis: RedisServer, value: bytes) -> None:
        await redis.cli("SET", KEYS.of_alias(MEDIA, "5"), value)
        async with storing(redis.addr) as store:
            assert await store.tag_of(MEDIA, "5", Budget(5)) is None


def test_answers_that_name_nothing_live_as_long_as_the_ttl() -> None:
    assert verdict(None, None) == FOREVER
