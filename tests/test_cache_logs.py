"""The debug lines, in the words that people already search for."""

import logging

import pytest

from tests.in_process import Stack
from tests.servers.redis import RedisServer


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
