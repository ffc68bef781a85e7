"""A caller's own retry policy (gRFC A6) works through the proxy: it repeats calls that failed before any headers."""

import json

import grpc.aio
import pytest

from tests.as_direct.conftest import ANY, METHODS, UNARY, Ways
from tests.as_direct.upstream import Answer, Arrived, answered, http_answer
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import Fields
from tests.support.raw_upstream import BIG, status_of, unary

_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.02s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_CONFIG = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _POLICY}]})


def refused(more: Fields = ()) -> Answer:
    """UNAVAILABLE in trailers only."""
    return http_answer(200, b"", b"application/grpc", [(b"grpc-status", b"14"), *more])


async def attempts(ways: Ways, way: str, method: str, answer: Answer) -> tuple[str, int]:
    """The final status, and how often upstream was called."""
    ways.upstream.answers[method.encode()] = answer
    ways.upstream.seen.clear()
    options = (*BIG, ("grpc.service_config", _CONFIG))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ways.port(way)}", options=options) as channel:
        code, _ = await status_of(unary(channel, method, b"q"))
    seen: list[Arrived] = ways.upstream.at(method)
    return code.name, len(seen)


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refused(), ("UNAVAILABLE", 4)),
        (refused([(b"grpc-retry-pushback-ms", b"5")]), ("UNAVAILABLE", 4)),
        (refused([(b"grpc-retry-pushback-ms", b"-1")]), ("UNAVAILABLE", 1)),
        (answered(status=b"14", initial=[(b"k", b"1")]), ("UNAVAILABLE", 1)),
        (answered(b"answer"), ("OK", 1)),
    ],
    ids=["refused", "pushed back", "told not to", "after headers", "answered"],
)
async def test_a_retry_policy_does_what_it_does_direct(
    ways: Ways, way: str, method: str, answer: Answer, expected: tuple[str, int]
) -> None:
    assert await attempts(ways, "direct", method, answer) == expected
    assert await attempts(ways, way, method, answer) == expected


@pytest.mark.parametrize("method", METHODS)
async def test_a_failure_after_empty_headers(ways: Ways, method: str) -> None:
    expected = {"direct": 1, "grpcio": 4, "envoy": 1 if method in {UNARY, ANY} else 4}
    if method == ANY:
        del expected["grpcio"]  # for a stream whose headers came 25 ms earlier, it is 1
    for way, times in expected.items():
        assert await attempts(ways, way, method, answered(status=b"14")) == ("UNAVAILABLE", times)
