"""Calls that the media service never processed are made once more (gRFC A6), on each transport; no others are."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import pytest
from grpc import StatusCode

from tests.support.raw_media import REFUSED_STREAM, Deed, RawMedia, answered, hung_up, reset, turned_away
from tests.support.raw_upstream import BIG, RawUpstream, status_of, unary
from tests.support.servers.nginx import Nginx
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

READ = "/media.MediaService/GetFilesByModel"
UNARY = "/media.MediaService/GetFileURL"
ANYTHING = "/any.Service/Anything"
_AS_GRPC_SAYS = {8: StatusCode.CANCELLED, 11: StatusCode.RESOURCE_EXHAUSTED}
METHODS = [READ, UNARY, ANYTHING]

pytestmark = pytest.mark.usefixtures("each_transport")


@asynccontextmanager
async def before(*script: Deed) -> AsyncIterator[tuple[RawMedia, grpc.aio.Channel]]:
    """A proxy before a media service that goes by the script, and a caller."""
    async with RawMedia(*script).serving() as media:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=f"127.0.0.1:{media.port}") as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=(*BIG, ("grpc.enable_retries", 0))) as caller:
                yield media, caller


async def test_a_call_that_was_never_processed_is_made_once_more() -> None:
    async with before() as (media, caller):
        for method in METHODS:
            for deed in (reset(REFUSED_STREAM), turned_away):
                media.calls.clear()
                media.script = [answered, deed]
                assert await status_of(unary(caller, method, b"first")) == (StatusCode.OK, "")
                assert await status_of(unary(caller, method, b"second")) == (StatusCode.OK, ""), method
                assert len(media.calls) == 3


async def test_once_more_and_not_again() -> None:
    async with before() as (media, caller):
        for method in METHODS:
            media.calls.clear()
            media.script = [reset(REFUSED_STREAM)] * 2
            code, _ = await status_of(unary(caller, method, b"asked"))
            assert code is StatusCode.UNAVAILABLE
            assert len(media.calls) == 2


async def test_a_call_that_may_have_been_processed_is_not_made_again(transport: str) -> None:
    async with before() as (media, caller):
        for method, error in itertools.product(METHODS, [0, 1, 2, 8, 11]):
            media.calls.clear()
            media.script = [reset(error)]
            code, _ = await status_of(unary(caller, method, b"asked"))
            # (Envoy does not tell which code it was; the core, behind it, does.)
            known = transport == "grpcio" or method == READ
            assert code is (_AS_GRPC_SAYS.get(error, StatusCode.INTERNAL) if known else StatusCode.INTERNAL)
            assert len(media.calls) == 1


async def test_a_connection_that_ends_without_a_word_is_unavailable() -> None:
    async with before() as (media, caller):
        for method in METHODS:
            media.calls.clear()
            media.script = [answered, hung_up]
            assert await status_of(unary(caller, method, b"first")) == (StatusCode.OK, "")
            code, _ = await status_of(unary(caller, method, b"second"))
            assert code is StatusCode.UNAVAILABLE
            assert len(media.calls) == 2


async def test_a_stream_is_made_once_more_with_what_it_had_sent() -> None:
    async with before(answered, reset(REFUSED_STREAM)) as (media, caller):
        assert await status_of(unary(caller, ANYTHING, b"first")) == (StatusCode.OK, "")
        call: grpc.aio.StreamStreamCall[bytes, bytes] = caller.stream_stream(ANYTHING)(timeout=30)
        assert await call.read() == b"answer"
        assert await call.code() is StatusCode.OK
        assert len(media.calls) == 3


async def test_many_calls_at_once_that_are_turned_away() -> None:
    """Whatever is on the connection already, or comes before the GOAWAY is read, is made on another."""
    async with before(answered, turned_away) as (media, caller):
        assert await status_of(unary(caller, UNARY, b"first")) == (StatusCode.OK, "")
        ended = await asyncio.gather(*(status_of(unary(caller, UNARY, b"x")) for _ in range(20)))
        assert {code for code, _ in ended} == {StatusCode.OK}, ended
        assert media.connections > 1


async def test_a_burst_before_the_limit_of_upstream_is_known() -> None:
    """10 calls at once on each connection; what is above is refused, as grpc-go does."""
    async with RawMedia(most=10).serving() as media:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=f"127.0.0.1:{media.port}") as proxy, AsyncExitStack() as stack:
            callers = [
                await stack.enter_async_context(grpc.aio.insecure_channel(proxy.addr, options=BIG)) for _ in range(2)
            ]
            for _ in range(3):
                calls = [status_of(unary(callers[n % 2], METHODS[1 + n % 2], b"asked")) for n in range(100)]
                assert Counter(code for code, _ in await asyncio.gather(*calls)) == {StatusCode.OK: 100}
    assert media.refused or media.connections == 1


@pytest.mark.parametrize("method", [UNARY, ANYTHING])
async def test_a_media_service_that_changes_its_limit_of_calls_at_once(method: str, transport: str) -> None:
    """Direct, calls wait, with a limit of 0 as well; Envoy begins new connections and is refused there."""
    async with RawMedia(most=100).serving() as media:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=f"127.0.0.1:{media.port}") as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as caller:
                for most in (100, 1, 2):
                    media.allow(most)
                    calls = [status_of(unary(caller, method, b"asked", timeout=30)) for _ in range(20)]
                    assert Counter(code for code, _ in await asyncio.gather(*calls)) == {StatusCode.OK: 20}, most
                media.allow(0)
                paused = asyncio.create_task(status_of(unary(caller, method, b"asked", timeout=2)))
                away = StatusCode.UNAVAILABLE if transport == "envoy" else StatusCode.DEADLINE_EXCEEDED
                assert (await paused)[0] is away
                media.allow(1)

                async def passes() -> bool:
                    return await status_of(unary(caller, method, b"asked", timeout=30)) == (StatusCode.OK, "")

                await until(passes, "calls to pass again")


async def test_an_nginx_that_ends_its_connections_after_so_many_calls_costs_none(transport: str) -> None:
    """`keepalive_requests`: a GOAWAY while calls are on their way to it. Direct, none is lost either."""
    async with RawUpstream() as upstream, Nginx(upstream.address, calls=20) as nginx:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=nginx.addr) as proxy:
            for addr in (nginx.addr, proxy.addr):
                async with grpc.aio.insecure_channel(addr, options=BIG) as channel:

                    async def caller(channel: grpc.aio.Channel = channel) -> list[StatusCode]:
                        calls = (unary(channel, METHODS[n % 3], b"\x0a\x04User") for n in range(60))
                        return [(await status_of(call))[0] for call in calls]

                    ended = await asyncio.gather(*(caller() for _ in range(10)))
                assert Counter(itertools.chain(*ended)) == {StatusCode.OK: 600}, (transport, addr)
    assert upstream.count(UNARY) == 2 * 200
