"""What callers get of answers: statuses, and answers that are not gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc.aio
import pytest
from grpc import StatusCode

from tests.as_direct.conftest import METHODS, Ways
from tests.as_direct.upstream import Answer, Indexed, When, answered, http_answer
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import END_STREAM, headers
from tests.support.raw_upstream import status_of, unary

EACH_WAY = pytest.mark.parametrize("way", TRANSPORTS)
EACH_METHOD = pytest.mark.parametrize("method", METHODS)
_OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_PAGE = b"<html>" + b"x" * 300


@asynccontextmanager
async def calling(ways: Ways, way: str) -> AsyncIterator[Callable[[str, int], Awaitable[set[tuple[StatusCode, str]]]]]:
    """Yields a function that makes so many calls of a method at once with grpc-python, and returns their statuses."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ways.port(way)}") as channel:

        async def statuses(method: str, times: int) -> set[tuple[StatusCode, str]]:
            return set(await asyncio.gather(*(status_of(unary(channel, method, b"q")) for _ in range(times))))

        yield statuses


async def statuses(ways: Ways, way: str, method: str, times: int = 1) -> set[tuple[StatusCode, str]]:
    """The statuses of so many calls on a new connection."""
    async with calling(ways, way) as of:
        return await of(method, times)


@EACH_WAY
@EACH_METHOD
@pytest.mark.parametrize("when", ["headers", "message", "half-close"])
async def test_an_error_page_of_a_balancer_is_unavailable(ways: Ways, way: str, method: str, when: When) -> None:
    """Always: gRPC's core itself reports UNKNOWN if it looks only after the whole answer has arrived."""
    ways.upstream.answers[method.encode()] = replace(http_answer(502, _PAGE), when=when)
    assert {code for code, _ in await statuses(ways, way, method, 100)} == {StatusCode.UNAVAILABLE}


@EACH_WAY
@EACH_METHOD
async def test_any_http_status_means_what_grpc_says(ways: Ways, way: str, method: str) -> None:
    async with calling(ways, "direct") as direct, calling(ways, way) as through:
        for status in (400, 401, 403, 404, 429, 500, 502, 503, 504):
            for page in (_PAGE, b""):
                ways.upstream.answers[method.encode()] = http_answer(status, page)
                codes = [{code for code, _ in await of(method, times)} for of, times in ((direct, 1), (through, 10))]
                assert codes[0] == codes[1], status


@EACH_WAY
@EACH_METHOD
async def test_every_status_passes(ways: Ways, way: str, method: str) -> None:
    async with calling(ways, "direct") as direct, calling(ways, way) as through:
        for code in (*range(1, 17), 99):
            trailing = [(b"grpc-message", b"d%C3%A9%25")]
            ways.upstream.answers[method.encode()] = answered(status=b"%d" % code, trailing=trailing)
            assert await through(method, 1) == await direct(method, 1)


@EACH_WAY
@EACH_METHOD
async def test_a_header_that_cannot_be_read_costs_later_answers_nothing(ways: Ways, way: str, method: str) -> None:
    """Callers share the connection upstream, and a server's HPACK encoder refers by index to fields it sent before."""
    for value in (b"!!!", b"AAA", b"!!!", b"AAA"):
        ways.upstream.answers[method.encode()] = Indexed([(b"k-bin", value)])
        [(code, _)] = await statuses(ways, way, method)
        assert value == b"!!!" or code is StatusCode.OK


@EACH_WAY
@EACH_METHOD
async def test_headers_alone_that_end_a_call_pass(ways: Ways, way: str, method: str) -> None:
    def alone(stream: int) -> bytes:
        return headers(stream, [*_OK, (b"grpc-status", b"9"), (b"k", b"1")], END_STREAM)

    ways.upstream.answers[method.encode()] = Answer(alone)
    assert await statuses(ways, way, method) == await statuses(ways, "direct", method)
