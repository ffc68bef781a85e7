"""The debug lines, in the words that people already search logs for."""

import asyncio
import logging
from typing import Any

import pytest
from grpc import StatusCode

from tests.support.in_process import READ, Process, Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    names = ("model_type", "model_id", "collection", "age", "source")
    return [
        (record.getMessage(), {name: record.__dict__[name] for name in names if name in record.__dict__})
        for record in caplog.records
        if record.levelno == logging.DEBUG and record.name.startswith("proxy")
    ]


@pytest.mark.parametrize(
    ("model_type", "collection", "subject"),
    [
        ("User", "avatars", "user avatar"),
        ("user", "avatar", "user avatar"),
        ("User", "images", "model media"),
        ("Product", "avatars", "model media"),
        ("user", "", "model media"),
    ],
)
async def test_debug_lines_read_as_they_used_to(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, model_type: str, collection: str, subject: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        caplog.set_level(logging.DEBUG, logger="proxy")
        for _ in range(2):
            await process.read(model_type, 1, collection)
        named = {"model_type": model_type, "model_id": 1, "collection": collection}
        assert _logged(caplog) == [
            (f"Cache miss for {subject}", named),
            (f"Cache hit for {subject}", {**named, "age": 0}),
        ]


async def test_a_read_that_redis_has_no_say_in_is_logged_as_a_miss(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(redis_addr="")
        caplog.set_level(logging.DEBUG, logger="proxy")
        await process.read()
        assert [line for line, _ in _logged(caplog)] == ["Cache miss for user avatar"]


async def _fails(stack: Stack, _: Process) -> None:
    stack.media.fail(READ, StatusCode.NOT_FOUND)


async def _is_unsuccessful(stack: Stack, _: Process) -> None:
    stack.media.unsuccessful[READ] = "database away"


async def _has_dead_urls(stack: Stack, _: Process) -> None:
    stack.media.add("User", 1)
    stack.media.url_expires = 0


async def _is_large(stack: Stack, process: Process) -> None:
    process.core.cache.policy.max_entry_bytes = 1


async def _nobody_takes_it(_: Stack, process: Process) -> None:
    assert process.core.store is not None
    taken: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    taken.set_exception(ConnectionResetError())
    process.core.store.fill = lambda *_: taken  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (_fails, "its status is NOT_FOUND"),
        (_is_unsuccessful, "success is false, or a presigned URL in it does not say when it expires"),
        (_is_large, "it is larger than CACHE_MAX_ENTRY_BYTES"),
        (_has_dead_urls, "it was invalidated meanwhile, or its presigned URLs are about to expire"),
        (_nobody_takes_it, "Redis could not store it"),
    ],
)
async def test_what_is_not_stored_says_why_and_is_not_counted(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, happens: Any, reason: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await happens(stack, process)
        caplog.set_level(logging.DEBUG, logger="proxy")
        assert await process.x_cache() == "miss"
        await until(lambda: process.flights == 0, "the flight to end")
        assert [line for line, _ in _logged(caplog)] == ["Cache miss for user avatar", "Not stored for user avatar"]
        assert caplog.records[-1].__dict__["reason"] == reason
        assert process.metric("media_cache_entry_bytes_count") == 0
