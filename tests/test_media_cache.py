import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from proxy import media_cache
from proxy.calls.call import Reply
from proxy.media_cache import MediaCacheError, MediaCacheService
from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from tests.support.in_process import READ, Process, Stack
from tests.support.servers.children import free_port
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


@pytest.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        yield stack


def settings(stack: Stack, redis: RedisServer, **changed: Any) -> Settings:
    return Settings(media_service_addr=stack.upstream.addr, redis_addr=RedisAddr().parse(redis.addr), **changed)


def on(process: Process, given: Settings | None = None, **named: Any) -> MediaCacheService:
    """A service on a core that the test owns."""
    return MediaCacheService(process.core, given or Settings(), **named)


async def test_an_avatar_is_cached(stack: Stack, redis: RedisServer) -> None:
    async with MediaCacheService.open(settings(stack, redis)) as media:
        assert await media.get_user_avatar(1) is None
        stack.media.add("User", 1, "images")
        avatar = stack.media.add("User", 1)
        stack.media.add("User", 1)
        assert await media.get_user_avatar(1) is None  # cached: that there is none, too
        await media.invalidate_user_avatar("1")
        for user_id in (1, "1"):
            found = await media.get_user_avatar(user_id)
            assert found is not None
            assert (found.id, found.file_name) == (avatar.id, avatar.file_name)
            assert found.presigned_url.startswith("https://")
        assert stack.fetches == 2


async def test_in_an_application_that_is_traced_it_is_part_of_the_trace(
    stack: Stack, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    def ended(name: str) -> list[Any]:
        return [span for span in exporter.get_finished_spans() if span.name == name]

    async with MediaCacheService.open(settings(stack, redis)) as media:
        with trace.get_tracer("the application").start_as_current_span("page") as page:
            for _ in range(2):
                await media.get_user_avatar(1)
            await media.invalidate_user_avatar(1)
            stack.media.fail(READ, StatusCode.UNAVAILABLE)
            with pytest.raises(MediaCacheError):
                await media.get_user_avatar(1)
    miss, hit, failed = ended("media_cache.read")
    [invalidated] = ended("media_cache.invalidate")
    assert [span.parent for span in (miss, hit, failed, invalidated)] == [page.get_span_context()] * 4
    assert dict(hit.attributes) == {
        "media_cache.result": "hit",
        "media_cache.tier": "redis",
        "media_cache.model_type": "user",
    }
    assert [span.status.is_ok for span in (miss, hit, failed, invalidated)] == [True, True, False, True]
    asked, _ = ended(f"media.MediaService/{READ}")
    assert asked.parent == miss.context
    [traceparent] = [value for key, value in stack.media.calls[0].metadata if key == "traceparent"]
    assert trace.format_span_id(asked.context.span_id) in str(traceparent)
    assert [span.parent for span in ended("HGET")] == [miss.context, hit.context, failed.context]


async def test_it_shares_entries_with_the_gateway(stack: Stack) -> None:
    """Which asks for page 1 of 1 of the model `user`."""
    process = await stack.process()
    stack.media.add("User", 1)
    assert await process.x_cache("user", 1, "avatars", page=1, per_page=1) == "miss"
    assert await on(process).get_user_avatar(1) is not None
    assert stack.fetches == 1


async def test_the_avatar_collection_can_be_set(stack: Stack, redis: RedisServer) -> None:
    avatar = stack.media.add("User", 1, "avatar")
    async with MediaCacheService.open(settings(stack, redis), avatar_collection="avatar") as media:
        found = await media.get_user_avatar(1)
        assert found is not None
        assert found.id == avatar.id


@pytest.mark.parametrize("count", [0, 1, 98, 99, 100, 250])
async def test_a_list_is_whole_however_many_pages_it_takes(stack: Stack, count: int) -> None:
    process = await stack.process()
    for _ in range(count):
        stack.media.add("Product", 7, "images")
    stack.media.add("Product", 7, "manuals")
    for _ in range(2):
        files = await on(process).get_model_media("Product", "7", "images")
        assert [media.id for media in files] == list(range(1, count + 1))
    assert stack.fetches == count // 99 + 1
    assert len(await on(process).get_model_media("Product", 7)) == count + 1


@pytest.mark.parametrize(("limit", "page"), [(100, 99), (0, 100), (1, 100), (2, 1), (20, 19), (1000, 100)])
async def test_pages_are_as_large_as_the_cache_takes_them(stack: Stack, limit: int, page: int) -> None:
    process = await stack.process(cache_bypass_per_page=limit)
    await on(process, Settings(cache_bypass_per_page=limit)).get_model_media("Product", 7)
    [call] = stack.media.calls
    assert isinstance(call.request, pb.GetFilesByModelRequest)
    assert (call.request.model_type, call.request.per_page, call.request.page) == ("Product", page, 1)


async def test_a_model_that_changes_between_pages_is_read_anew(stack: Stack) -> None:
    process = await stack.process(cache_bypass_per_page=3)
    media = on(process, Settings(cache_bypass_per_page=3))
    for _ in range(4):
        stack.media.add("Product", 7, "images")
    await process.read("Product", 7, "images", page=1, per_page=2)  # cached
    stack.media.remove(1)  # and its event is on its way
    gate = stack.media.hold(READ)
    reading = asyncio.create_task(media.get_model_media("Product", 7, "images"))
    await gate.reached()
    await process.event(Model.of("product", 7))
    gate.open()
    assert [file.id for file in await reading] == [2, 3, 4]


async def test_a_service_that_repeats_itself_ends_a_list(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await stack.process()
    files = [stack.media.add("Product", 7) for _ in range(99)]
    monkeypatch.setattr(type(stack.media), "_page", lambda _, found, page, per_page: (found[:99], page, per_page))
    assert [file.id for file in await on(process).get_model_media("Product", 7)] == [file.id for file in files]
    assert stack.fetches == 2


async def test_an_invalidation_is_of_the_whole_model_and_for_everybody(stack: Stack) -> None:
    process, other = await stack.process(), await stack.process()
    reads = [("User", "avatars"), ("user", "images"), ("USER", "")]
    for expected in ("miss", "hit"):
        assert [await other.x_cache(model_type, 1, collection) for model_type, collection in reads] == [expected] * 3
    await on(process).invalidate_model_media("uSER", 1, "images")
    assert [await other.x_cache(model_type, 1, collection) for model_type, collection in reads] == ["miss"] * 3
    assert process.metric("media_cache_invalidations_total", source="admin") == 1


async def test_metadata_goes_along_and_tells_callers_apart(stack: Stack) -> None:
    process = await stack.process()
    for token in ("one", "two"):
        await on(process, metadata=(("authorization", token),)).get_user_avatar(1)
    sent = [value for call in stack.media.calls for key, value in call.metadata if key == "authorization"]
    assert sent == ["one", "two"]


@pytest.mark.parametrize("model_id", ["", "abc", "1.5", 2**63, str(2**63), -(2**63) - 1])
async def test_an_id_that_is_no_int64_is_refused(stack: Stack, model_id: Any) -> None:
    media = on(await stack.process())
    for call in (
        media.get_user_avatar(model_id),
        media.get_model_media("user", model_id),
        media.invalidate_user_avatar(model_id),
        media.invalidate_model_media("user", model_id),
    ):
        with pytest.raises(MediaCacheError) as raised:
            await call
        assert raised.value.status is StatusCode.INVALID_ARGUMENT
        assert raised.value.message == f"model id {model_id!r} is not an int64"
    assert stack.media.calls == []


async def test_failures_are_one_exception(stack: Stack) -> None:
    media = on(await stack.process())
    stack.media.fail(READ, StatusCode.UNAVAILABLE, "connection\nrefused")
    with pytest.raises(MediaCacheError, match=r"\AUNAVAILABLE: connection refused\Z") as raised:
        await media.get_user_avatar(1)
    assert (raised.value.status, raised.value.message) == (StatusCode.UNAVAILABLE, "connection refused")
    stack.media.heal()
    stack.media.unsuccessful[READ] = "database away"
    with pytest.raises(MediaCacheError, match=r"\AOK: database away\Z"):
        await media.get_model_media("user", 1)


async def test_an_answer_that_is_none(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await stack.process()

    async def garbage(_: Any) -> Any:
        return Reply(b"\xff")

    monkeypatch.setattr(process.core.cache, "_fetch", garbage)
    monkeypatch.setattr(process.core.cache._fetches, "_fetch", garbage)
    with pytest.raises(MediaCacheError, match="INTERNAL: the media service sent no GetFilesByModelResponse"):
        await on(process).get_user_avatar(1)


async def test_a_read_ends_with_its_timeout(stack: Stack) -> None:
    process = await stack.process()
    stack.media.hold(READ)
    with pytest.raises(MediaCacheError) as raised:
        await on(process, timeout=1.0).get_user_avatar(1)
    assert raised.value.status is StatusCode.DEADLINE_EXCEEDED
    await until(lambda: stack.media.calls[0].ended == "cancelled", "upstream's call to be cancelled")


async def test_a_read_that_joined_another_ends_with_its_own_timeout(stack: Stack) -> None:
    process = await stack.process()
    gate = stack.media.hold(READ)
    patient = asyncio.create_task(on(process, timeout=None).get_user_avatar(1))
    await gate.reached()
    with pytest.raises(MediaCacheError, match=r"\ADEADLINE_EXCEEDED: no answer within 0.1 s\Z"):
        await on(process, timeout=0.1).get_user_avatar(1)
    gate.open()
    assert await patient is None
    assert stack.fetches == 1


async def test_once_closed_it_is_unavailable(stack: Stack, redis: RedisServer) -> None:
    async with MediaCacheService.open(settings(stack, redis)) as media:
        await media.get_user_avatar(1)
    with pytest.raises(MediaCacheError) as raised:
        await media.get_user_avatar(1)
    assert raised.value.status is StatusCode.UNAVAILABLE


async def test_without_a_timeout_upstream_gets_no_deadline(stack: Stack) -> None:
    process = await stack.process()
    await on(process, timeout=None).get_user_avatar(1)
    assert stack.media.calls[0].time_remaining is None


async def test_an_invalidation_that_redis_does_not_take_in_time_is_kept(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        media = on(process, timeout=0.1)
        patient = on(process)
        assert await patient.get_user_avatar(1) is None
        own_redis.freeze()
        with pytest.raises(MediaCacheError) as raised:
            await media.invalidate_user_avatar(1)
        assert raised.value.status is StatusCode.DEADLINE_EXCEEDED
        assert raised.value.message == "Redis has not confirmed the invalidation of user/1 yet; it is kept"
        stack.media.add("User", 1)
        assert await patient.get_user_avatar(1) is not None  # past the cache
        own_redis.thaw()
        await until(lambda: process.core.invalidations.pending == 0, "it to be applied")
        assert await patient.get_user_avatar(1) is not None


async def test_without_redis_it_reads_through(stack: Stack) -> None:
    given = Settings(media_service_addr=stack.upstream.addr, redis_addr=None)
    async with MediaCacheService.open(given) as media:
        stack.media.add("User", 1)
        assert await media.get_user_avatar(1) is not None
        await media.invalidate_user_avatar(1)
        assert len(await media.get_model_media("user", 1)) == 1
        assert stack.fetches == 2


async def test_redis_away_delays_the_opening_by_no_more_than_half_a_second(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_cache, "_SETTLING", 0.05)
    given = Settings(media_service_addr=stack.upstream.addr, redis_addr=RedisAddr().parse(f"127.0.0.1:{free_port()}"))
    async with MediaCacheService.open(given) as media:
        assert await media.get_user_avatar(1) is None


async def test_opening_ends_what_it_began(stack: Stack, redis: RedisServer) -> None:
    def ours() -> list[str]:
        """Tasks of the proxy's code; gRPC has some of its own."""
        codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
        return [code.co_qualname for code in codes if code is not None and "/proxy/" in code.co_filename]

    async def fail_inside() -> None:
        async with MediaCacheService.open(settings(stack, redis)) as media:
            await media.get_user_avatar(1)
            assert ours()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_inside()
    assert ours() == []


async def test_a_background_that_failed_is_told_at_the_end(
    stack: Stack, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proxy.core.Core.run", broken)
    monkeypatch.setattr(media_cache, "_SETTLING", 0.01)
    with pytest.raises(ZeroDivisionError):
        async with MediaCacheService.open(settings(stack, redis)):
            pass
