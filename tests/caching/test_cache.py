"""Reads through the cache on a real Redis: what is stored and served, for how long, and what bypasses."""

import time
from typing import Any

import pytest
from grpc import StatusCode

from proxy.calls.call import Call
from proxy.pb import media_pb2 as pb
from tests.support.in_process import READ, USER, Seen, Stack, read_call
from tests.support.media_methods import GET_FILES_BY_MODEL
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_a_hit_after_a_miss_is_the_same_message(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.add("User", 1)
        miss, hit = await process.read(), await process.read()
        assert (miss.x_cache, miss.age, hit.x_cache, hit.age) == ("miss", None, "hit", 0)
        assert hit.reply.body == miss.reply.body
        assert stack.fetches == 1


async def test_large_ids_stay_exact(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        for model_id in (2**53, 2**53 + 1, 2**63 - 1, -(2**63)):
            stack.media.add("User", model_id, id=2**53 + 1, uuid=str(model_id))
            for expected in ("miss", "hit"):
                seen = await process.read(model_id=model_id)
                [media] = seen.response.data.media
                assert (seen.x_cache, media.uuid, media.model_id, media.id) == (
                    expected,
                    str(model_id),
                    model_id,
                    2**53 + 1,
                )


async def test_an_empty_list_is_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert await process.x_cache() == "miss"
        seen = await process.read()
        assert (seen.x_cache, seen.ids, seen.response.success) == ("hit", [], True)


async def test_an_unsuccessful_answer_is_not_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.unsuccessful[READ] = "database away"
        for _ in range(2):
            seen = await process.read()
            assert (seen.x_cache, seen.response.message) == ("miss", "database away")
        stack.media.heal()
        assert await process.x_cache() == "miss"
        assert await process.x_cache() == "hit"


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.NOT_FOUND])
async def test_a_failure_is_not_stored_and_says_where_it_came_from(redis: RedisServer, code: StatusCode) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.fail(READ, code, "no luck")
        for _ in range(2):
            seen = await process.read()
            assert (seen.code, seen.reply.details, seen.x_cache) == (code, "no luck", "miss")
        assert stack.fetches == 2


async def test_an_entry_ends_with_its_ttl(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_ttl=0.3, cache_stale_if_error=0.0)
        assert await process.x_cache() == "miss"

        async def missed() -> bool:
            return await process.x_cache() == "miss"

        await until(missed, "the entry to expire", timeout=5)


@pytest.mark.parametrize(("random", "share"), [(0.0, 1.0), (0.5, 0.975), (0.999999, 0.95)])
async def test_jitter_only_shortens(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, random: float, share: float
) -> None:
    monkeypatch.setattr("random.random", lambda: random)
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_ttl=1000.0, cache_stale_if_error=50.0)
        await process.read()
        found = await process.found()
        assert found is not None
        life = found.entry.fresh_until_ms - found.entry.born_ms
        assert life == pytest.approx(share * 1_000_000, abs=2)
        assert life <= 1_000_000
        assert found.entry.stale_until_ms - found.entry.fresh_until_ms == 50_000


async def test_no_entry_outlives_a_presigned_url(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.add("User", 1)
        stack.media.url_expires = 100
        await process.read()
        found = await process.found()
        assert found is not None
        assert found.entry.fresh_until_ms <= found.entry.born_ms + 90_000  # the margin is a tenth
        assert found.entry.stale_until_ms == found.entry.fresh_until_ms


async def test_an_answer_with_a_dead_url_is_not_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.add("User", 1)
        stack.media.clock = lambda: time.time() - 3600
        stack.media.url_expires = 1800
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]


async def test_too_large_an_answer_is_not_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_max_entry_bytes=2000)
        stack.media.add("User", 1)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        stack.media.add("User", 2, custom_properties="x" * 2000)
        assert [await process.x_cache(model_id=2), await process.x_cache(model_id=2)] == ["miss", "miss"]


@pytest.mark.parametrize("extra", [b"\x98\x06\x01", b"\x0a", b"\xff\xff"], ids=["unknown field", "cut off", "garbage"])
async def test_what_is_not_understood_bypasses(redis: RedisServer, extra: bytes) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        plain = read_call()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        for _ in range(2):
            call = Call(plain.method, plain.body + extra)
            seen = Seen(await process.core.methods.read(call))
            assert seen.x_cache == "bypass"
            assert (seen.code is StatusCode.OK) is (extra == b"\x98\x06\x01")  # upstream's own verdict


@pytest.mark.parametrize(
    ("vary", "key"), [(("authorization",), "authorization"), (("x-tenant", "x-locale-bin"), "x-locale-bin")]
)
async def test_callers_are_told_apart(redis: RedisServer, vary: tuple[str, ...], key: str) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_vary_metadata=vary)
        values: list[str | bytes] = [b"a", b"b"] if key.endswith("-bin") else ["a", "b"]
        callers: list[Any] = [((key, values[0]),), ((key, values[1]),), ((key, values[0]), (key, values[1])), ()]
        for expected in ("miss", "hit"):
            for caller in callers:
                assert await process.x_cache(metadata=caller) == expected
        assert await process.x_cache(metadata=((key, values[1]), ("x-other", "told apart by nothing"))) == "hit"
        await process.event()
        for caller in callers:
            assert await process.x_cache(metadata=caller) != "hit"


async def test_one_invalidation_takes_every_spelling_page_and_collection(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        reads = [
            {"model_type": model_type, "collection": collection, "page": page, "per_page": per_page}
            for model_type in ("User", "user", "USER")
            for collection in ("avatars", "Avatars", "")
            for page, per_page in ((1, 1), (1, 10), (2, 10), (0, 0))
        ]
        for expected in ("miss", "hit"):
            for named in reads:
                assert await process.x_cache(**named) == expected
        assert [await process.x_cache(model_id=2) for _ in range(2)] == ["miss", "hit"]
        await process.core.invalidations.invalidate(USER, source="admin", about=USER.described("avatars"))
        for named in reads:
            assert await process.x_cache(**named) == "miss"
        assert await process.x_cache(model_id=2) == "hit"


async def test_upstreams_metadata_is_on_the_miss_only(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.initial_metadata = (("x-first", "1"), ("x-first", "2"))
        stack.media.trailing_metadata = (("x-last-bin", b"\x00"),)
        miss, hit = await process.read(), await process.read()
        assert miss.reply.initial_metadata == (("x-first", "1"), ("x-first", "2"))
        assert miss.reply.trailing_metadata == (("x-last-bin", b"\x00"), ("x-cache", "miss"))
        assert hit.reply.initial_metadata == ()
        assert hit.reply.trailing_metadata == (("x-cache", "hit"), ("age", "0"))


@pytest.mark.parametrize("value", ["no-cache", "max-age=0, No-Cache"])
async def test_no_cache_fetches_and_replaces(redis: RedisServer, value: str) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        stack.media.add("User", 1)
        fresh = await process.read(metadata=(("cache-control", value),))
        assert (fresh.x_cache, fresh.ids) == ("miss", [1])
        replaced = await process.read()
        assert (replaced.x_cache, replaced.ids) == ("hit", [1])


async def test_no_store_neither_reads_nor_stores(redis: RedisServer) -> None:
    no_store = (("cache-control", "no-store, no-cache"),)
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(metadata=no_store), await process.x_cache()] == ["bypass", "miss"]
        stack.media.add("User", 1)
        bypass, hit = await process.read(metadata=no_store), await process.read()
        assert (bypass.x_cache, bypass.ids, hit.x_cache, hit.ids) == ("bypass", [1], "hit", [])


@pytest.mark.parametrize("settings", [{"cache_mode": "off"}, {"cache_ttl": 0.0}])
async def test_off_forwards_all(redis: RedisServer, settings: dict[str, Any]) -> None:
    async with Stack(redis.addr) as stack:
        on, off = await stack.process(), await stack.process(**settings)
        assert [await on.x_cache(), await on.x_cache()] == ["miss", "hit"]
        assert [await off.x_cache(), await off.x_cache()] == ["bypass", "bypass"]
        assert [await off.x_cache(model_id=2), await on.x_cache(model_id=2)] == ["bypass", "miss"]


@pytest.mark.parametrize(
    ("limit", "cached", "bypassed"),
    [(100, [0, 1, 99], [100, 101]), (0, [0, 100, 101], []), (20, [1, 19], [0, 20, 100]), (21, [0, 20], [21])],
)
async def test_large_pages_bypass(redis: RedisServer, limit: int, cached: list[int], bypassed: list[int]) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_bypass_per_page=limit)
        for per_page in cached:
            second = "miss" if per_page > 100 else "hit"  # upstream refuses large pages, so they are never stored
            assert [await process.x_cache(per_page=per_page) for _ in range(2)] == ["miss", second]
        for per_page in bypassed:
            assert [await process.x_cache(per_page=per_page) for _ in range(2)] == ["bypass", "bypass"]


async def test_without_redis_every_answer_is_a_miss(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(redis_addr="")
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
        assert (await process.upload()).ok
        assert await process.x_cache(metadata=(("cache-control", "no-store"),)) == "bypass"


async def test_foreign_bytes_under_our_keys_are_a_miss_and_replaced(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.read()
        [key] = await redis.cli("KEYS", "media:model:*")
        [field] = [name for name in await redis.cli("HKEYS", key) if name.startswith(b"e")]
        good = await redis.cli("HGET", key, field)
        for foreign in (b"", b"\xff" * 100, b"1 x y z\n", good[:-1].replace(b"avatars", b"AVATARS"), b"2" + good[1:]):
            await redis.cli("HSET", key, field, foreign)
            assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        await redis.cli("DEL", key)
        await redis.cli("SET", key, "a string")
        assert await process.x_cache() == "miss"


async def test_an_answer_stored_between_the_look_and_the_lease_is_a_hit(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.read()

        async def too_early(*_: Any) -> None:
            """Finds nothing, as a look before the fill does."""

        monkeypatch.setattr(process.core.store, "read", too_early)
        seen = await process.read()
        assert (seen.x_cache, seen.age) == ("hit", 0)


async def test_what_callers_see_is_counted(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        for _ in range(3):
            await process.read()
        await process.read(per_page=100)

        def counted(result: str, tier: str) -> float:
            return process.metric("media_cache_requests_total", method=READ, result=result, tier=tier)

        assert [counted("hit", "redis"), counted("miss", "none"), counted("bypass", "none")] == [2, 1, 1]
        assert process.metric("media_cache_fetches_in_flight") == 0
        await until(lambda: process.metric("media_cache_entry_bytes_count") == 1, "the stored answer to be counted")


async def test_a_request_of_any_method_name_is_left_to_upstream(redis: RedisServer) -> None:
    """The key is made from the body alone, and an empty message is a valid request, for no model."""
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        for expected in ("miss", "hit"):
            seen = Seen(await process.core.methods.read(Call(GET_FILES_BY_MODEL, b"")))
            assert (seen.x_cache, seen.response) == (
                expected,
                pb.GetFilesByModelResponse(
                    success=True, message="ok", data=pb.GetFilesByModelData(page=1, per_page=20)
                ),
            )
