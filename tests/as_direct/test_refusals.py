"""A call that the proxy refuses never reaches upstream, not even its headers."""

import pytest
from grpc import StatusCode

from proxy.transport.limits import Limits
from tests.as_direct.caller import HandCaller, call, request
from tests.as_direct.conftest import ANY, METHODS, READ, Ways
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import Fields
from tests.support.raw_upstream import Chain, status_of

EACH_METHOD = pytest.mark.parametrize("method", METHODS)


@EACH_METHOD
@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ([(b"k-bin", b"!!!")], b"\0\0\0\0\1q"),
        ([(b"grpc-timeout", b"12x")], b"\0\0\0\0\1q"),
        ([(b"grpc-encoding", b"zstd")], b"\1\0\0\0\1q"),
        ([(b"grpc-encoding", b"gzip")], b"\1\0\0\0\1q"),
        ([], b"\0\5\0\0\0q"),
        ([(b"k", "ü".encode())], b"\0\0\0\0\1q"),
        ([(f"k{number}".encode(), b"v") for number in range(300)], b"\0\0\0\0\1q"),
    ],
    ids=["base64", "timeout", "unknown encoding", "compressed", "too large", "illegal", "many"],
)
async def test_what_grpcs_library_refuses_opens_no_call_upstream(
    ways: Ways, method: str, fields: Fields, data: bytes
) -> None:
    for _ in range(5):
        assert (await call(ways.port("grpcio"), request(method, fields), data)).code not in {0, None}
    # A call that passes: anything sent before it would have arrived before it.
    assert (await call(ways.port("grpcio"), request("/any.Service/Last"))).code == 0
    assert [each.path for each in ways.upstream.seen] == [b"/any.Service/Last"]


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", [READ, ANY])
async def test_a_header_that_cannot_be_read_costs_later_calls_nothing(ways: Ways, way: str, method: str) -> None:
    """A front proxy's callers share its connection, and its HPACK encoder refers by index to fields it sent before."""
    caller = await HandCaller.connected(ways.port(way), indexed=True)
    for name, bad, good in ((b"k-bin", b"!!!", b"AAA"), (b"grpc-timeout", b"12x", b"9S")):
        for value in (bad, bad, good, good):
            outcome = await caller.call(request(method, [(name, value)]))
            assert value == bad or (outcome.code, outcome.messages) == (0, (b"answer",))
    await caller.close()


async def test_a_message_too_many_opens_no_call_upstream() -> None:
    async with Chain(limits=Limits(bytes_in_flight=1 << 20)) as chain:
        code, details = await status_of(chain.unary(ANY, bytes(2 << 20)))
        assert (code, "MAX_BYTES_IN_FLIGHT" in details) == (StatusCode.RESOURCE_EXHAUSTED, True)
        assert await chain.unary(ANY, b"small") == b"small"
        assert [seen.messages for seen in chain.raw.seen] == [[b"small"]]
