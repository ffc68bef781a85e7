"""What upstream sees of a request: authority, metadata, deadline, content-type, bytes."""

import grpc.aio
import pytest

from tests.as_direct.caller import Outcome, call, request
from tests.as_direct.conftest import ANY, METHODS, READ, UNARY, Ways
from tests.as_direct.upstream import Arrived, answered
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import Fields
from tests.support.servers.waiting import until

EACH_WAY = pytest.mark.parametrize("way", TRANSPORTS)
EACH_METHOD = pytest.mark.parametrize("method", METHODS)


async def through(ways: Ways, way: str, method: str, fields: Fields = (), **more: bytes) -> tuple[Outcome, Arrived]:
    """The outcome of a call, and the request that arrived upstream."""
    ways.upstream.seen.clear()
    outcome = await call(ways.port(way), request(method, fields, **more))
    [arrived] = ways.upstream.at(method)
    return outcome, arrived


def comparable(outcome: Outcome, arrived: Arrived) -> object:
    """Leaves out the differences that docs/envoy.md lists, and `x-cache`."""
    ours = {"x-cache", "age"}
    initial = tuple(pair for pair in outcome.initial if pair[0] != "date")
    trailing = tuple(pair for pair in outcome.trailing if pair[0] not in ours)
    metadata = tuple(pair for pair in arrived.metadata if pair[0] != b"grpc-timeout")
    return outcome.code, outcome.details, initial, trailing, outcome.messages, metadata, bytes(arrived.data)


@EACH_WAY
@EACH_METHOD
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"k", b"1"), (b"k", b"2"), (b"K-9._x".lower(), b"a b"), (b"k-bin", b"AP8"), (b"k-bin", b"")],
        [(b"authorization", b"Bearer x"), (b"x-request-id", b"1"), (b"x-real-ip", b"::1"), (b"via", b"1.1 x")],
        [(b"x-forwarded-client-cert", b'By=spiffe://a;Subject="CN=b"'), (b"x-forwarded-for", b"10.0.0.1")],
        [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"h"), (b"forwarded", b"for=a")],
        [(b"x-b3-traceid", b"1"), (b"tracestate", b"a=b"), (b"baggage", b"k=v"), (b"x-cloud-trace-context", b"1")],
        [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"origin", b"http://o"), (b"date", b"x"), (b"expect", b"y")],
        [(b"cache-control", b"no-store"), (b"server", b"s"), (b"age", b"1"), (b"early-data", b"1")],
    ],
    ids=["none", "plain", "identity", "xfcc", "proto", "traces", "web", "cache"],
)
async def test_a_request_and_its_answer_pass(ways: Ways, way: str, method: str, fields: Fields) -> None:
    direct = comparable(*await through(ways, "direct", method, fields))
    assert comparable(*await through(ways, way, method, fields)) == direct


@EACH_WAY
@EACH_METHOD
async def test_the_authority_is_upstreams(ways: Ways, way: str, method: str) -> None:
    """The caller's authority names the proxy, and an upstream that routes by host has no route for it."""
    _, arrived = await through(ways, way, method)
    assert arrived.of(b":authority") == [f"127.0.0.1:{ways.upstream.port}".encode()]


@EACH_WAY
@EACH_METHOD
@pytest.mark.parametrize("deadline", [b"2562047H", b"99999999H", b"87600H", b"99999999S"])
async def test_a_far_deadline_is_one(ways: Ways, way: str, method: str, deadline: bytes) -> None:
    outcome, arrived = await through(ways, way, method, [(b"grpc-timeout", deadline)])
    assert (outcome.code, outcome.messages) == (0, (b"answer",))
    [told] = arrived.of(b"grpc-timeout")
    assert int(told[:-1]) * {b"H": 3600, b"M": 60, b"S": 1}[told[-1:]] > 364 * 86400


@EACH_WAY
@EACH_METHOD
@pytest.mark.parametrize("deadline", [b"9S", b"9000m", b"9000000u", b"00000009S"])
async def test_a_near_deadline_is_told(ways: Ways, way: str, method: str, deadline: bytes) -> None:
    _, arrived = await through(ways, way, method, [(b"grpc-timeout", deadline)])
    [told] = arrived.of(b"grpc-timeout")
    assert 8.0 < int(told[:-1]) * {b"m": 1e-3, b"S": 1.0, b"u": 1e-6}[told[-1:]] <= 9.1


@pytest.mark.parametrize("method", [READ, UNARY, ANY])
async def test_a_content_subtype_reaches_upstream(ways: Ways, method: str) -> None:
    """Not with gRPC's own library, as `test_what_differs` shows."""
    for subtype in (b"application/grpc+json", b"application/grpc+proto"):
        if (method, subtype) == (READ, b"application/grpc+proto"):
            continue  # here the core itself asks upstream, for an answer that it stores
        _, arrived = await through(ways, "envoy", method, content_type=subtype)
        assert arrived.of(b"content-type") == [subtype]


@EACH_WAY
@EACH_METHOD
@pytest.mark.parametrize("status", [b"0", b"10"])
async def test_the_answers_metadata_passes(ways: Ways, way: str, method: str, status: bytes) -> None:
    initial = [(b"i", b"1"), (b"i", b"2"), (b"i-bin", b"AP8"), (b"server", b"s"), (b"cache-control", b"no-store")]
    trailing = [(b"t", b"1"), (b"t", b"2"), (b"t-bin", b"AP8"), (b"grpc-status-details-bin", b"CAU")]
    ways.upstream.answers[method.encode()] = answered(
        *[b"a"] * (status == b"0"), initial=initial, trailing=trailing, status=status
    )
    direct = comparable(*await through(ways, "direct", method))
    assert comparable(*await through(ways, way, method)) == direct


@EACH_WAY
async def test_a_request_that_was_cut_off_is_not_taken_for_a_whole_one(ways: Ways, way: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ways.port(way)}") as channel:
        begin: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(ANY)
        for attempt in range(20):
            cut = begin()
            await cut.write(b"half of it")
            await until(lambda n=attempt: sum(b"half" in each.data for each in ways.upstream.at(ANY)) > n)  # type: ignore[misc]
            cut.cancel()
    await until(lambda: all(each.reset for each in ways.upstream.at(ANY)), "the calls to be reset")
    assert [each for each in ways.upstream.at(ANY) if each.ended] == []


@EACH_WAY
async def test_messages_pass_in_order(ways: Ways, way: str) -> None:
    bodies = [b"%d" % number for number in range(50)]
    ways.upstream.answers[ANY.encode()] = answered(*bodies)
    outcome, _ = await through(ways, way, ANY)
    assert [int(body) for body in outcome.messages] == list(range(50))
