"""Calls that the media service never processed are made once more (gRFC A6), on each transport; no others are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc import StatusCode

from tests.raw_media import REFUSED_STREAM, Deed, RawMedia, answered, reset, turned_away, unanswered
from tests.raw_upstream import BIG, status_of, unary
from tests.servers.process import ProxyProcess

READ = "/media.MediaService/GetFilesByModel"
UNARY = "/media.MediaService/GetFileURL"
ANYTHING = "/any.Service/Anything"
METHODS = [READ, UNARY, ANYTHING]

pytestmark = pytest.mark.usefixtures("each_transport")


@asynccontextmanager
async def before(*script: Deed) -> AsyncIterator[tuple[RawMedia, grpc.aio.Channel]]:
    """A proxy before a media service that goes by the script, and a caller."""
    async with RawMedia(*script).serving() as media:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=f"127.0.0.1:{media.port}") as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=(*BIG, ("grpc.enable_retries", 0))) as caller:
                yield media, caller


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("deed", [reset(REFUSED_STREAM), turned_away], ids=["refused", "turned away"])
async def test_a_call_that_was_never_processed_is_made_once_more(method: str, deed: Deed) -> None:
    async with before(answered, deed) as (media, caller):
        assert await status_of(unary(caller, method, b"first")) == (StatusCode.OK, "")
        assert await status_of(unary(caller, method, b"second")) == (StatusCode.OK, "")
        assert len(media.calls) == 3


@pytest.mark.parametrize("method", METHODS)
async def test_once_more_and_not_again(method: str) -> None:
    async with before(*[reset(REFUSED_STREAM)] * 5) as (media, caller):
        code, _ = await status_of(unary(caller, method, b"asked"))
        assert code is StatusCode.UNAVAILABLE
        assert len(media.calls) == 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [0, 2, 8, 11])
async def test_a_call_that_may_have_been_processed_is_not_made_again(method: str, error: int) -> None:
    async with before(reset(error)) as (media, caller):
        code, _ = await status_of(unary(caller, method, b"asked"))
        assert code is not StatusCode.OK
        assert len(media.calls) == 1


async def test_a_stream_is_made_once_more_with_what_it_had_sent() -> None:
    async with before(answered, reset(REFUSED_STREAM)) as (media, caller):
        assert await status_of(unary(caller, ANYTHING, b"first")) == (StatusCode.OK, "")
        call: grpc.aio.StreamStreamCall[bytes, bytes] = caller.stream_stream(ANYTHING)(timeout=30)
        assert await call.read() == b"answer"
        assert await call.code() is StatusCode.OK
        assert len(media.calls) == 3


async def test_many_calls_at_once_that_are_turned_away() -> None:
    """Each connection takes one call and is then closed to others, the calls that are on it already are never seen."""
    async with before(answered, *[turned_away] * 1) as (media, caller):
        assert await status_of(unary(caller, UNARY, b"first")) == (StatusCode.OK, "")
        ended = await asyncio.gather(*(status_of(unary(caller, UNARY, b"x")) for _ in range(20)))
        assert {code for code, _ in ended} == {StatusCode.OK}, ended
    assert unanswered(1) == b""
    assert media.connections > 1
