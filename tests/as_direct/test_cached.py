"""The same cases with the cache: distant deadlines of writes, and error pages while a stale answer could stand in."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.pb import media_pb2 as pb
from tests.as_direct.caller import Outcome, call, request
from tests.as_direct.conftest import READ, UPLOAD
from tests.as_direct.upstream import Answer, HandUpstream, answered, http_answer
from tests.conftest import TRANSPORTS
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

EACH_WAY = pytest.mark.parametrize("transport", TRANSPORTS)
FAR = [(b"grpc-timeout", b"2562047H")]
LIST = answered(pb.GetFilesByModelResponse(success=True, data=pb.GetFilesByModelData(total=0)).SerializeToString())
DONE = answered(pb.UploadFileResponse(success=True).SerializeToString())


def _framed(message: pb.GetFilesByModelRequest | pb.UploadFileRequest) -> bytes:
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4) + body


async def read(proxy: ProxyProcess) -> str:
    """Makes a read; returns its `x-cache`, or the status of a failure."""
    asked = pb.GetFilesByModelRequest(model_type="user", model_id=1, collection_name="a", page=1, per_page=1)
    outcome = await call(proxy.listen_port, request(READ), _framed(asked))
    return str(dict(outcome.trailing)["x-cache"]) if outcome.code == 0 else f"{outcome.code} {outcome.details}"


async def upload(proxy: ProxyProcess) -> Outcome:
    """Uploads with a deadline that is centuries away."""
    return await call(
        proxy.listen_port, request(UPLOAD, FAR), _framed(pb.UploadFileRequest(model_type="user", model_id=1))
    )


@asynccontextmanager
async def proxied(transport: str, redis: RedisServer, **more: str) -> AsyncIterator[tuple[HandUpstream, ProxyProcess]]:
    """An upstream with an empty list, and a proxy that has cached it."""
    with HandUpstream().serving() as upstream:
        upstream.answers |= {READ.encode(): LIST, UPLOAD.encode(): DONE}
        settings = {"MEDIA_SERVICE_ADDR": f"127.0.0.1:{upstream.port}", "REDIS_ADDR": redis.addr, **more}
        async with ProxyProcess(TRANSPORT=transport, **settings) as proxy:
            await until(lambda: _is(proxy, "hit"), "the cache to work")
            yield upstream, proxy


async def _is(proxy: ProxyProcess, result: str) -> bool:
    return await read(proxy) == result


@EACH_WAY
async def test_a_write_with_a_far_deadline_leaves_its_model_cached(redis: RedisServer, transport: str) -> None:
    async with proxied(transport, redis) as (_, proxy):
        assert (await upload(proxy)).code == 0
        assert await read(proxy) == "miss"
        await until(lambda: _is(proxy, "hit"), "the model to be cached again", timeout=5)


@EACH_WAY
async def test_the_intent_of_a_write_with_a_far_deadline_lasts_ten_minutes(redis: RedisServer, transport: str) -> None:
    async with proxied(transport, redis) as (upstream, proxy):
        upstream.answers[UPLOAD.encode()] = Answer(lambda _: b"", "headers")  # never
        writing = asyncio.ensure_future(upload(proxy))
        await until(lambda: upstream.at(UPLOAD))
        [key] = await redis.cli("KEYS", "media:model:*")
        [intent] = [field for field in await redis.cli("HKEYS", key) if field.startswith(b"w")]
        proxy.kill()
        assert int(await redis.cli("HGET", key, intent)) / 1000 <= time.time() + 600
        writing.cancel()


@EACH_WAY
async def test_a_stored_answer_stands_in_for_an_error_page(redis: RedisServer, transport: str) -> None:
    async with proxied(transport, redis, CACHE_TTL="1s") as (upstream, proxy):
        upstream.answers[READ.encode()] = http_answer(502, b"<html>" * 50)
        await until(lambda: _is(proxy, "stale"), "the answer to have run out", timeout=5)
        found = {await read(proxy) for _ in range(50)}
        # If the machine is so busy that Redis counts as away for a moment, nothing can stand in.
        assert found - {"stale"} <= {"14 Received http2 header with status: 502"}
