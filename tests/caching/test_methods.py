"""Finding the tags of writes, and shadow mode."""

import asyncio
import logging
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching.own_writes import Write
from proxy.calls.call import Call, Handler, Reply
from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.caching.test_cache_stale import run_out_of_time
from tests.support.in_process import DELETE, READ, UPLOAD, USER, Process, Stack, intents, read_call
from tests.support.media_methods import DELETE_FILE, GET_FILES_BY_MODEL, UPLOAD_FILE
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

LOOK_UP = "GetFileByID"


class Writes:
    """Records what `Methods` passes to `OwnWrites`."""

    def __init__(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[Write] = []
        original = process.core.own_writes.carry_out

        async def carry_out(write: Write, forward: Handler) -> Any:
            self.seen.append(write)
            return await original(write, forward)

        monkeypatch.setattr(process.core.own_writes, "carry_out", carry_out)

    @property
    def models(self) -> list[tuple[str | None, str]]:
        return [(next(iter(write.tags), None), str(write.about.fields.get("collection", ""))) for write in self.seen]


@pytest.mark.parametrize("model_id", [0, 5, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
async def test_an_uploads_model_is_read_off_its_request(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, model_id: int
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        writes = Writes(process, monkeypatch)
        await process.upload("ÜSER", model_id)
        assert writes.models == [(Model.of("üser", model_id), "avatars")]


@pytest.mark.parametrize("odd", [b"\x28\x01", b"\x32\x01a"], ids=["number for text", "text for number"])
async def test_an_upload_says_what_upstreams_library_reads(redis: RedisServer, odd: bytes) -> None:
    """A known field with another wire type is an unknown field: upstream accepts the upload, so it is a write."""
    body = pb.UploadFileRequest(content=b"a", model_type="User", model_id=1).SerializeToString() + odd
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        reply = await process.core.methods.write(Call(UPLOAD_FILE, body))
        assert pb.UploadFileResponse.FromString(reply.body or b"").data.model_type == "User"
        assert await process.x_cache() == "miss"


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x2a\x05User",  # model_type: longer than the message
        b"\x2a\x01\xff",  # model_type: not UTF-8
    ],
    ids=["garbage", "cut off", "no text"],
)
async def test_an_upload_that_cannot_be_read_is_left_to_upstream(redis: RedisServer, body: bytes) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        by_proxy = await process.core.methods.write(Call(UPLOAD_FILE, body))
        by_upstream = await process.core.upstream.unary(Call(UPLOAD_FILE, body), timeout=None)
        assert (by_proxy.code, by_proxy.details) == (by_upstream.code, by_upstream.details)
        assert await process.x_cache() == "hit"
        assert await intents(redis) == []


@pytest.mark.parametrize("method", [UPLOAD_FILE, DELETE_FILE])
async def test_a_write_that_only_upstream_can_read_is_a_flush(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """No conforming library accepts it; if upstream does, nobody knows what it changed."""
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]

        async def taken(_: Call) -> Reply:
            return Reply(pb.UploadFileResponse(success=True).SerializeToString())

        monkeypatch.setattr(process.core.methods, "_fetch", taken)
        assert (await process.core.methods.write(Call(method, b"\xff"))).ok
        assert process.core.invalidations.held_back(USER)
        await until(lambda: process.core.invalidations.pending == 0, "the flush")
        assert await process.x_cache() == "miss"


@pytest.mark.parametrize("body", [b"\xff", b"\x08"], ids=["garbage", "cut off"])
async def test_a_delete_that_cannot_be_read_is_left_to_upstream(redis: RedisServer, body: bytes) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        await process.core.methods.write(Call(DELETE_FILE, body))
        assert stack.media.count(LOOK_UP) == 0
        assert await process.x_cache() == "hit"


async def test_the_model_of_a_file_that_was_cached_is_in_the_index(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        writes = Writes(process, monkeypatch)
        media = stack.media.add("User", 2**53 + 1, id=2**62)
        await process.read("user", 2**53 + 1)
        await process.delete(media.id)
        assert writes.models == [(Model.of("user", 2**53 + 1), "")]
        assert stack.media.count(LOOK_UP) == 0
        assert stack.media.count(DELETE) == 1


async def test_the_model_of_a_file_that_no_cached_page_held_is_asked_of_upstream(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        writes = Writes(process, monkeypatch)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        media = stack.media.add("User", 1)
        await process.delete(media.id, metadata=(("authorization", "me"),), deadline=60.0)
        assert writes.models == [(Model.of("user", 1), "avatars")]
        look_up, delete = stack.media.calls[-2:]
        assert (look_up.method, delete.method) == (LOOK_UP, DELETE)
        for call in (look_up, delete):
            assert ("authorization", "me") in call.metadata
            assert call.time_remaining is not None
            assert 0 < call.time_remaining < 61
        assert await process.x_cache() == "miss"


@pytest.mark.parametrize("answer", ["not found", "failed", "unsuccessful"])
async def test_a_delete_goes_on_when_its_model_cannot_be_found_out(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        writes = Writes(process, monkeypatch)
        media = stack.media.add("User", 1)
        if answer == "failed":
            stack.media.fail(LOOK_UP, StatusCode.UNIMPLEMENTED)
        elif answer == "unsuccessful":
            stack.media.unsuccessful[LOOK_UP] = "database away"
        assert [await process.x_cache(model_id=2), await process.x_cache(model_id=2)] == ["miss", "hit"]
        reply = await process.delete(404 if answer == "not found" else media.id)
        deleted = pb.DeleteFileResponse.FromString(reply.body or b"").success
        assert (deleted, writes.models) == (answer != "not found", [(None, "")])
        await until(lambda: process.core.invalidations.pending == 0, "the flush")
        assert await process.x_cache(model_id=2) == ("miss" if deleted else "hit")


async def test_redis_hanging_at_the_index_costs_no_more_than_one_timeout(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        media = stack.media.add("User", 1)
        own_redis.freeze()
        begun = asyncio.get_running_loop().time()
        reply = await process.delete(media.id)
        assert asyncio.get_running_loop().time() - begun < 1.5  # without a bound: until Redis is back
        assert pb.DeleteFileResponse.FromString(reply.body or b"").success
        assert process.core.invalidations.held_back(Model.of("user", 1))
        own_redis.thaw()
        await until(lambda: process.core.invalidations.pending == 0, "the invalidation to be applied")


async def test_one_budget_for_the_index_and_both_invalidations(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        media = stack.media.add("User", 1)
        await process.read()
        budgets: set[int] = set()
        store, ours = process.core.store, process.core.invalidations
        assert store is not None
        original_index, original_write = store.tag_of, ours.own_write

        async def tag_of(service: str, alias: str, budget: Any) -> str | None:
            budgets.add(id(budget))
            return await original_index(service, alias, budget)

        async def own_write(model: str, intent: Any, budget: Any, **named: Any) -> None:
            budgets.add(id(budget))
            await original_write(model, intent, budget, **named)

        monkeypatch.setattr(store, "tag_of", tag_of)
        monkeypatch.setattr(ours, "own_write", own_write)
        await process.delete(media.id)
        assert len(budgets) == 1


async def test_shadow_forwards_always_and_keeps_the_cache(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        shadow, on = await stack.process(cache_mode="shadow"), await stack.process()
        stack.media.initial_metadata = (("x-first", "1"),)
        for expected in (1, 2, 3):
            seen = await shadow.read()
            assert (seen.x_cache, seen.age, stack.fetches) == ("bypass", None, expected)
            assert seen.reply.initial_metadata == (("x-first", "1"),)
        assert await on.x_cache() == "hit"
        stack.media.add("User", 1)
        assert await shadow.x_cache(metadata=(("cache-control", "no-cache"),)) == "bypass"
        assert (await on.read()).ids == [1]
        assert await on.x_cache() == "hit"
        await shadow.upload()
        assert await on.x_cache() == "miss"


async def test_shadow_never_answers_with_somebody_elses_fetch(redis: RedisServer) -> None:
    """It does not, even where the cache would: with a fetch under way, an answer stored meanwhile, or a stale one."""
    async with Stack(redis.addr) as stack:
        shadow = await stack.process(cache_mode="shadow", cache_ttl=0.05, cache_stale_while_revalidate=600.0)
        gate = stack.media.hold(READ)
        reads = [shadow.reading() for _ in range(5)]
        await gate.reached(5)
        gate.open()
        assert {one.x_cache for one in await asyncio.gather(*reads)} == {"bypass"}
        assert stack.fetches == 5
        await run_out_of_time(stack, shadow)
        stack.media.add("User", 1)
        assert (await shadow.read()).ids == [1]
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        assert (await shadow.read()).code is StatusCode.UNAVAILABLE


async def test_shadow_counts_where_the_cache_would_have_differed(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_mode="shadow")

        def differences() -> float:
            return process.metric("media_cache_shadow_differences_total")

        media = stack.media.add("User", 1)
        for _ in range(3):
            await process.read()
        assert differences() == 0  # another signature is not a difference
        stack.media.add("User", 1)
        assert (await process.read()).ids == [1, 2]
        assert differences() == 1
        gate = stack.media.hold(READ, "answer")
        reading = process.reading()
        await gate.reached()
        await process.event()  # from now on the cache would not have answered
        gate.open()
        await reading
        assert differences() == 1
        stack.media.remove(media.id)
        await process.read(metadata=(("cache-control", "no-cache"),))
        assert differences() == 1
        await process.read(metadata=(("cache-control", "no-store"),))
        assert differences() == 1


async def test_shadow_logs_a_sample_of_the_differences(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="proxy.caching.methods")
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_mode="shadow")
        for _ in range(4):
            await process.read()
            stack.media.add("User", 1)
        await process.read(model_type="Product")
        stack.media.add("Product", 1)
        await process.read(model_type="Product")
        assert process.metric("media_cache_shadow_differences_total") == 4
    shown = [record.__dict__ for record in caplog.records if "would have differed" in record.getMessage()]
    assert [(each["model_type"], each["model_id"], each["collection"], each["age"]) for each in shown] == [
        ("User", 1, "avatars", 0),
        ("Product", 1, "avatars", 0),
    ]


async def test_shadow_with_redis_away(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process(cache_mode="shadow")
        await process.read()
        own_redis.freeze()
        assert [await process.x_cache(), await process.x_cache()] == ["bypass", "bypass"]
        own_redis.thaw()


async def test_the_mode_may_change_while_it_runs(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        for mode, expected in (("off", "bypass"), ("shadow", "bypass"), ("on", "hit")):
            process.core.cache.policy.mode = mode
            assert await process.x_cache() == expected


async def test_the_handlers_are_named_as_on_the_wire(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        routes = (await stack.process()).core.routes
        assert set(routes) == {GET_FILES_BY_MODEL, UPLOAD_FILE, DELETE_FILE}
        for handler, method, body in (
            (routes[GET_FILES_BY_MODEL], READ, read_call().body),
            (routes[UPLOAD_FILE], UPLOAD, b""),
            (routes[DELETE_FILE], DELETE, b""),
        ):
            await handler(Call(f"/media.MediaService/{method}", body))
            assert stack.media.count(method) == 1
