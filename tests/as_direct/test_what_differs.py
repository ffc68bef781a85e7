"""The differences from direct calls: each row of the table "What differs" in docs/envoy.md is shown to differ here.

Everything else that this package tests is the same with both transports.
"""

from collections.abc import Callable
from typing import TypeVar

import grpc.aio
import pytest
from grpc import StatusCode

from tests.abuse.attack import literal
from tests.as_direct.caller import HandCaller, Outcome, call, request
from tests.as_direct.conftest import ANY, READ, UNARY, UPLOAD, Ways
from tests.as_direct.upstream import Arrived, answered, http_answer
from tests.support.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    WINDOW_UPDATE,
    Fields,
    frame,
    headers,
)
from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT, ProxyProcess

_Test = TypeVar("_Test", bound=Callable[..., object])

SEEN_HERE: set[str] = set()
SEEN_ELSEWHERE = {
    "a metadata value above 64 KiB, unless `MAX_METADATA_BYTES` is higher": "as_direct/test_large_metadata.py",
    "metadata above twice `MAX_METADATA_BYTES`": "e2e/test_envoy_wire.py",
    "`MAX_MESSAGE_BYTES`, `MAX_BYTES_IN_FLIGHT`, `ACCEPT_COMPRESSED`": "e2e/test_envoy_wire.py",
    "spans": "envoy/test_transport.py",
    "`rpc_*` metrics": "envoy/test_forwarded.py",
    "RST_STREAM of the media service before its headers": "e2e/test_transparent_retries.py",
    "the same after its headers, or a connection that ends then": "envoy/test_forwarded.py",
    "a media service that allows 0 calls at once for a while": "e2e/test_transparent_retries.py",
    "GOAWAY to callers after SIGTERM": "transport/test_draining.py",
    "more than `MAX_CONCURRENT_CALLS` forwarded calls": "e2e/test_isolation.py",
    "a failure right after headers without metadata": "as_direct/test_callers_retries.py",
    "a caller that goes away": "envoy/test_departures.py",
    "a media service whose name leads to another address": "as_direct/test_addresses.py",
    "TLS files that changed": "envoy/test_tls.py",
    "a certificate of the media service with a common name and no alternative names": "as_direct/test_names.py",
    "`xds:` targets": "envoy/test_addresses.py",
}
"""Rows that are not about the bytes of one call, and where they are tested."""


def differs(row: str) -> Callable[[_Test], _Test]:
    """Marks the test that shows a row of the table."""
    SEEN_HERE.add(row)
    return lambda test: test


def test_the_table_lists_what_was_found() -> None:
    text = (ROOT / "docs" / "envoy.md").read_text().partition("## What differs")[2]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert sorted(rows[1:]) == sorted({*SEEN_HERE, *SEEN_ELSEWHERE})
    assert all((ROOT / "tests" / name).exists() for name in SEEN_ELSEWHERE.values())


async def made(ways: Ways, way: str, method: str, fields: Fields = (), **more: bytes) -> tuple[Outcome, Arrived | None]:
    """The outcome of a call, and what upstream saw of it, if anything."""
    ways.upstream.seen.clear()
    outcome = await call(ways.port(way), request(method, fields, **more))
    arrived = ways.upstream.at(method)
    return outcome, arrived[0] if arrived else None


async def values(ways: Ways, way: str, method: str, fields: Fields) -> list[bytes]:
    """The values of the first of these fields that arrived upstream."""
    _, arrived = await made(ways, way, method, fields)
    assert arrived is not None
    return arrived.of(fields[0][0])


FORWARDED = pytest.mark.parametrize("method", [UNARY, ANY])
OF_THE_CORE = pytest.mark.parametrize("method", [READ, UPLOAD])
ALL = pytest.mark.parametrize("method", [READ, UPLOAD, UNARY, ANY])


@differs("`date` in responses")
@ALL
async def test_a_date(ways: Ways, method: str) -> None:
    dated = {}
    for way in ("direct", "grpcio", "envoy"):
        ways.upstream.answers[method.encode()] = answered(b"a")
        dated[way] = "date" in dict((await call(ways.port(way), request(method))).initial)
    assert dated == {"direct": False, "grpcio": False, "envoy": True}


@differs("`:authority` upstream")
@ALL
async def test_the_authority(ways: Ways, method: str) -> None:
    for way in ("grpcio", "envoy"):
        _, arrived = await made(ways, way, method)
        assert arrived is not None
        assert arrived.of(b":authority") == [f"127.0.0.1:{ways.upstream.port}".encode()]


@differs("request metadata `x-envoy-*`")
@ALL
async def test_orders_for_an_envoy(ways: Ways, method: str) -> None:
    assert await values(ways, "grpcio", method, [(b"x-envoy-attempt-count", b"1")]) == [b"1"]
    assert await values(ways, "envoy", method, [(b"x-envoy-attempt-count", b"1")]) == []


@differs("request metadata `x-envoy-peer-metadata`, `endpoint-load-metrics-bin`")
@FORWARDED
async def test_what_grpcs_library_keeps_of_requests(ways: Ways, method: str) -> None:
    assert await values(ways, "grpcio", method, [(b"x-envoy-peer-metadata", b"1")]) == []
    assert await values(ways, "grpcio", method, [(b"endpoint-load-metrics-bin", b"AAAA")]) == []
    assert await values(ways, "envoy", method, [(b"endpoint-load-metrics-bin", b"AAAA")]) == [b"AAAA"]


@differs("`endpoint-load-metrics-bin`, `grpc-server-stats-bin` of answers (ORCA)")
@ALL
async def test_what_grpcs_library_keeps_of_answers(ways: Ways, method: str) -> None:
    trailing = [(b"endpoint-load-metrics-bin", b"AAAA"), (b"grpc-server-stats-bin", b"AAAA")]
    ways.upstream.answers[method.encode()] = answered(b"a", trailing=trailing)
    found = {}
    for way in ("grpcio", "envoy"):
        outcome, _ = await made(ways, way, method)
        found[way] = len({"endpoint-load-metrics-bin", "grpc-server-stats-bin"} & {*dict(outcome.trailing)})
    assert found == {"grpcio": 0, "envoy": 2 if method in {UNARY, ANY} else 0}


@differs("`grpc-message` of an answer with status OK")
@ALL
async def test_words_for_a_success(ways: Ways, method: str) -> None:
    """grpc-js sends `OK`."""
    ways.upstream.answers[method.encode()] = answered(b"a", trailing=[(b"grpc-message", b"OK")])
    details = {way: (await made(ways, way, method))[0].details for way in ("direct", "grpcio", "envoy")}
    assert details == {"direct": "OK", "grpcio": "", "envoy": "OK" if method in {UNARY, ANY} else ""}


@differs("a `grpc-message` that is not UTF-8")
@ALL
async def test_words_that_are_no_text(ways: Ways, method: str) -> None:
    ways.upstream.answers[method.encode()] = answered(status=b"9", trailing=[(b"grpc-message", b"%FF")])
    details = {way: (await made(ways, way, method))[0].details for way in ("direct", "grpcio", "envoy")}
    assert details == {"direct": "%FF", "grpcio": "%C3%BF", "envoy": "%FF" if method in {UNARY, ANY} else "%C3%BF"}


@differs("`content-length` of an answer that consists of a status only")
@ALL
async def test_the_length_of_a_status(ways: Ways, method: str) -> None:
    """tonic sends a content-length."""
    more = [(b"grpc-status", b"9"), (b"content-length", b"0")]
    ways.upstream.answers[method.encode()] = http_answer(200, b"", b"application/grpc", more)
    found = {}
    for way in ("direct", "grpcio", "envoy"):
        outcome, _ = await made(ways, way, method)
        found[way] = "content-length" in dict(outcome.trailing)
    assert found == {"direct": True, "grpcio": False, "envoy": method in {UNARY, ANY}}


@differs("several values of `x-forwarded-for`, `x-forwarded-host`, `traceparent`")
@FORWARDED
async def test_values_that_come_twice(ways: Ways, method: str) -> None:
    for name, by_envoy in ((b"x-forwarded-for", [b"a,b"]), (b"traceparent", [b"a", b"b"])):
        twice = [(name, b"a"), (name, b"b")]
        assert await values(ways, "direct", method, twice) == [b"a", b"b"]
        assert await values(ways, "grpcio", method, twice) == [b"b"]
        assert await values(ways, "envoy", method, twice) == by_envoy


@differs("several `cookie`")
@ALL
async def test_cookies(ways: Ways, method: str) -> None:
    crumbs = [(b"cookie", b"a=1"), (b"cookie", b"b=2")]
    assert await values(ways, "grpcio", method, crumbs) == [b"a=1", b"b=2"]
    assert await values(ways, "envoy", method, crumbs) == [b"a=1; b=2"]


@differs("content-subtypes (`application/grpc+json`)")
@ALL
async def test_content_subtypes(ways: Ways, method: str) -> None:
    json = b"application/grpc+json"
    found = {}
    for way in ("grpcio", "envoy"):
        _, arrived = await made(ways, way, method, content_type=json)
        assert arrived is not None
        found[way] = arrived.of(b"content-type")
    assert found == {"grpcio": [b"application/grpc"], "envoy": [b"application/grpc" if method == UPLOAD else json]}


@differs("`user-agent`, `grpc-accept-encoding` upstream")
@FORWARDED
async def test_user_agents(ways: Ways, method: str) -> None:
    named = [(b"user-agent", b"tests/1")]
    [grpcs] = await values(ways, "grpcio", method, named)
    assert grpcs.startswith(b"grpc-python-asyncio/")
    assert await values(ways, "envoy", method, named) == [b"tests/1"]
    assert await values(ways, "envoy", method, [(b"grpc-accept-encoding", b"zstd")]) == [b"zstd"]
    assert await values(ways, "grpcio", method, [(b"grpc-accept-encoding", b"zstd")]) != [b"zstd"]


@differs("request metadata that gRPC calls illegal (`ü`)")
@ALL
async def test_illegal_metadata(ways: Ways, method: str) -> None:
    fields = [(b"k", "ü".encode())]
    outcomes = {way: (await made(ways, way, method, fields))[0].code for way in ("grpcio", "envoy")}
    assert outcomes == {"grpcio": 3, "envoy": 0 if method in {UNARY, ANY} else 3}


@differs("an invalid base64 value of a `-bin` key, an invalid `grpc-timeout`")
@ALL
async def test_headers_that_cannot_be_read(ways: Ways, method: str) -> None:
    for fields, of_the_core in (([(b"k-bin", b"!!!")], 13), ([(b"grpc-timeout", b"12x")], 0)):
        outcomes = {way: (await made(ways, way, method, fields))[0].code for way in ("grpcio", "envoy")}
        assert outcomes == {"grpcio": 13, "envoy": 0 if method in {UNARY, ANY} else of_the_core}


@differs("`-bin` values joined by commas")
@ALL
async def test_joined_binary_values(ways: Ways, method: str) -> None:
    """They are legal in gRPC over HTTP/2, but gRPC's core rejects them as not base64."""
    fields = [(b"k-bin", b"AAA,AQ")]
    assert (await made(ways, "grpcio", method, fields))[0].code == 13
    joined = b",".join(await values(ways, "envoy", method, fields))
    assert joined == b"AAA,AQ"


@differs("an unknown `grpc-encoding`")
@ALL
async def test_unknown_encodings(ways: Ways, method: str) -> None:
    fields = [(b"grpc-encoding", b"zstd")]
    outcomes = {way: (await made(ways, way, method, fields))[0].code for way in ("grpcio", "envoy")}
    assert outcomes == {"grpcio": 13, "envoy": 0 if method in {UNARY, ANY} else 12}


@differs("`connection` and similar headers in a call")
@ALL
async def test_what_describes_the_connection(ways: Ways, method: str) -> None:
    assert await values(ways, "grpcio", method, [(b"connection", b"close")]) == []
    outcome, arrived = await made(ways, "envoy", method, [(b"connection", b"close")])
    assert (outcome.reset, arrived) == (1, None)
    for way in ("grpcio", "envoy"):
        assert await values(ways, way, method, [(b"host", b"h")]) == []


@differs("a deadline more than a year away")
@ALL
async def test_far_deadlines(ways: Ways, method: str) -> None:
    far = b"2562047H"
    told = {way: await values(ways, way, method, [(b"grpc-timeout", far)]) == [far] for way in ("grpcio", "envoy")}
    assert told == {"grpcio": False, "envoy": method in {UNARY, ANY}}


@differs("a unary call without a deadline")
async def test_unary_calls_without_a_deadline(ways: Ways) -> None:
    for way in ("grpcio", "envoy"):
        for method, given in ((READ, True), (UNARY, True), (UPLOAD, False), (ANY, False)):
            _, arrived = await made(ways, way, method)
            assert arrived is not None
            assert bool(arrived.of(b"grpc-timeout")) is given


@differs("an answer that is not gRPC")
@ALL
async def test_answers_that_are_no_grpc(ways: Ways, method: str) -> None:
    """To a gRPC library both are UNAVAILABLE."""
    ways.upstream.answers[method.encode()] = http_answer(502, b"<html>")
    codes = {way: (await made(ways, way, method))[0].code for way in ("grpcio", "envoy")}
    assert codes == {"grpcio": 14, "envoy": None if method in {UNARY, ANY} else 14}


@differs("a unary call with no request message, or two")
@pytest.mark.parametrize("data", [b"", b"\0\0\0\0\1q\0\0\0\0\1q"])
@pytest.mark.parametrize("method", [READ, UPLOAD, UNARY])
async def test_unary_calls_with_any_other_number_of_messages(ways: Ways, method: str, data: bytes) -> None:
    codes = {way: (await call(ways.port(way), request(method), data)).code for way in ("grpcio", "envoy")}
    assert codes == {"grpcio": 12 if not data else 0, "envoy": 0 if method == UNARY else 12}


@differs("request metadata `grpc-trace-bin`, `grpc-tags-bin`, `grpc-previous-rpc-attempts`, `lb-token`")
@ALL
async def test_what_grpcs_library_takes_for_its_own(ways: Ways, method: str) -> None:
    for name in (b"grpc-trace-bin", b"grpc-tags-bin", b"grpc-previous-rpc-attempts", b"lb-token"):
        passes = method in {UNARY, ANY} or name in {b"grpc-trace-bin", b"grpc-tags-bin"}
        assert await values(ways, "direct", method, [(name, b"2222")]) == [b"2222"]
        assert await values(ways, "grpcio", method, [(name, b"2222")]) == []
        assert await values(ways, "envoy", method, [(name, b"2222")]) == [b"2222"] * passes


@differs("a content-type other than gRPC's")
@ALL
async def test_other_content_types(ways: Ways, method: str) -> None:
    for other in (b"application/json", b"application/grpc-web+proto"):
        assert (await made(ways, "grpcio", method, content_type=other))[0].code == 0
        outcome, arrived = await made(ways, "envoy", method, content_type=other)
        assert (outcome.code, arrived) == (None, None)


@differs("a call without `te: trailers`")
@ALL
async def test_a_call_that_does_not_take_trailers(ways: Ways, method: str) -> None:
    fields = [pair for pair in request(method) if pair[0] != b"te"]
    assert (await call(ways.port("grpcio"), fields)).reset is not None
    assert (await call(ways.port("envoy"), fields)).code == 0
    [arrived] = ways.upstream.seen
    assert arrived.of(b"te") == [b"trailers"]


@differs("HEADERS with padding (RFC 9113, 6.2)")
@ALL
async def test_padding(ways: Ways, method: str) -> None:
    block = b"\3" + b"".join(literal(*pair) for pair in request(method)) + bytes(3)
    padded = frame(HEADERS, END_HEADERS | 8, 1, block) + frame(DATA, END_STREAM, 1, b"\0\0\0\0\1q")
    codes = {}
    for way in ("direct", "grpcio", "envoy"):
        caller = await HandCaller.connected(ways.port(way))
        codes[way] = (await caller.said(padded)).code
        await caller.close()
    assert codes == {"direct": 0, "grpcio": 13, "envoy": 0}


@differs("a path other than `/service/method` (`/a/b/c`)")
async def test_other_paths(ways: Ways) -> None:
    for way in ("grpcio", "envoy"):
        for path in ("/", "/a", "/a/b/c", "//a/b"):
            outcome, arrived = await made(ways, way, path)
            assert (outcome.code, arrived) == (12, None)


@differs("headers of an answer that HTTP/2 forbids: control characters, `connection`, a wrong `content-length`")
@ALL
async def test_fields_that_http2_forbids(ways: Ways, method: str) -> None:
    for field in ((b"k", b"a\x01b"), (b"connection", b"close"), (b"content-length", b"99")):
        ways.upstream.answers[method.encode()] = answered(b"answer", initial=[field])
        outcome, _ = await made(ways, "grpcio", method)
        assert (outcome.code, outcome.initial) == (0, (("content-type", "application/grpc"),))
        outcome, _ = await made(ways, "envoy", method)
        assert outcome.code == (0 if method in {READ, UPLOAD} else 13) or outcome.reset == 2


@differs("ten or more WINDOW_UPDATE frames in a row before any answer")
@ALL
async def test_windows_that_are_opened_in_many_steps(ways: Ways, method: str) -> None:
    steps = frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4)) * 50
    for way in ("grpcio", "envoy"):
        caller = await HandCaller.connected(ways.port(way))
        asked = caller.said(steps + headers(1, request(method)) + frame(DATA, END_STREAM, 1, b"\0\0\0\0\1q"))
        if way == "grpcio":
            assert (await asked).code == 0
        else:
            with pytest.raises(ConnectionError):
                await asked
        await caller.close()


@differs("`wait_for_ready` while the media service is away")
@ALL
async def test_waiting_for_upstream(transport: str, method: str) -> None:
    async with ProxyProcess(TRANSPORT=transport, MEDIA_SERVICE_ADDR=f"127.0.0.1:{free_port()}") as proxy:
        async with grpc.aio.insecure_channel(proxy.addr) as channel:
            waiting: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await waiting(b"", timeout=10, wait_for_ready=True)
    assert raised.value.code() is StatusCode.UNAVAILABLE
