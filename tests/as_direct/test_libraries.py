"""A client and a server with another gRPC library see the same through the proxy as directly."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.as_direct.conftest import ANY, METHODS, READ, UNARY, UPLOAD
from tests.as_direct.peers import MAX, Peers, peers
from tests.conftest import TRANSPORTS

EACH_WAY = pytest.mark.parametrize("way", TRANSPORTS)
PLAIN = (("k", b"1"), ("k", b"2"), ("k-bin", b"\x00\xff"), ("k-bin", b""), ("authorization", b"Bearer x"))
METADATA = [[key, value.hex()] for key, value in PLAIN]
UNARY_CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "metadata": {"metadata": METADATA},
    "metadata of the answer": {"answer": {"echo": True, "header": METADATA, "trailer": METADATA}},
    "status": {"answer": {"code": 9, "details": "détails\n%"}},
    "rich status": {"answer": {"code": 5, "details": "gone", "rich": "more", "trailer": METADATA}},
    "status after header": {"answer": {"code": 14, "details": "x", "header": METADATA, "header_first": True}},
    "far deadline": {"timeout": MAX},
    "deadline": {"timeout": 30_000_000_000},
}
STREAMS: dict[str, tuple[tuple[bytes, ...], dict[str, Any]]] = {
    "no message": ((), {}),
    "both ways": (tuple(b"%d" % number for number in range(200)), {"ping_pong": True}),
    "from the server": ((b"q",), {"answer": {"messages": ["MQ==", "", "Mw=="], "trailer": METADATA}}),
    "from the client": ((b"1", b"", b"3"), {"answer": {"messages": ["MQ=="]}}),
    "header first": ((b"1",), {"header_first": True, "answer": {"header_first": True, "echo": True}}),
    "ended early": ((b"1",) * 3, {"answer": {"early": True, "code": 11, "details": "enough"}}),
    "failed after messages": ((b"1", b"2"), {"answer": {"echo": True, "code": 15, "details": "lost", "rich": "r"}}),
}


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with peers(tmp_path_factory.mktemp("peers")) as running:
        yield running


def comparable(outcome: dict[str, Any], seen: dict[str, Any]) -> object:
    """Leaves out what depends on time: the time left, and whether the server had read all when it ended a call."""
    told = {key: value for key, value in seen.items() if key not in {"authority", "remaining", "cancelled"}}
    return outcome, told, seen["remaining"] is not None


@EACH_WAY
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", UNARY_CASES)
def test_a_unary_call(between: Peers, way: str, method: str, case: str) -> None:
    given = {"timeout": 20_000_000_000, **UNARY_CASES[case]}
    through, direct = (between.call(each, method, b"q", **given) for each in (way, "direct"))
    assert comparable(*through) == comparable(*direct)


@EACH_WAY
@pytest.mark.parametrize("case", STREAMS)
def test_a_stream(between: Peers, way: str, case: str) -> None:
    messages, given = STREAMS[case]
    through, direct = (between.call(each, ANY, *messages, **given) for each in (way, "direct"))
    assert comparable(*through) == comparable(*direct)


@EACH_WAY
@pytest.mark.parametrize("method", [UPLOAD, UNARY, ANY])
def test_messages_of_any_size(between: Peers, way: str, method: str) -> None:
    body = bytes(range(256)) * (4 << 12)
    outcome, seen = between.call(way, method, body)
    assert (outcome["code"], outcome["details"]) == (0, "")
    assert [base64.b64decode(each) for each in (*seen["messages"], *outcome["messages"])] == [body, body]


@EACH_WAY
def test_a_cancelled_stream_is_cancelled_at_the_server(between: Peers, way: str) -> None:
    outcome, seen = between.call(way, ANY, b"1", b"2", b"3", ping_pong=True, cancel_after=2)
    assert outcome["code"] == 1
    assert seen["cancelled"]


@EACH_WAY
@pytest.mark.parametrize("method", METHODS)
def test_the_server_is_called_by_its_own_name(between: Peers, way: str, method: str) -> None:
    _, seen = between.call(way, method, b"q")
    named = [f"localhost:{between.ports['direct']}"]
    assert seen["authority"] == (named if between.library == "grpc-go" else [])


@EACH_WAY
@pytest.mark.parametrize("method", METHODS)
def test_a_far_deadline_is_years_away(between: Peers, way: str, method: str) -> None:
    outcome, seen = between.call(way, method, b"q", timeout=MAX)
    assert outcome["code"] == 0
    assert seen["remaining"] > 300 * 86400


@EACH_WAY
def test_a_read_without_a_deadline_gets_ours(between: Peers, way: str) -> None:
    _, seen = between.call(way, READ, b"q")
    assert 50 < seen["remaining"] < 61
