"""Which metadata is passed on, which is not, and which is refused."""

import pytest

from proxy.transport.metadata import IllegalMetadataError, to_caller, to_upstream

HOP_BY_HOP = [
    *("host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer"),
    *("content-type", "content-length", "user-agent", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"),
    *("grpc-internal-encoding-request", "grpc-internal-anything", "lb-token"),
]


def test_order_duplicates_and_binary_values_stay() -> None:
    pairs = (("b", "2"), ("a", "1"), ("b", "1"), ("t-bin", b"\x00\xff"), ("t-bin", b""), ("empty", ""), ("k", " ~"))
    assert to_upstream(pairs) == pairs
    assert to_caller(pairs) == (pairs, ())


@pytest.mark.parametrize("key", HOP_BY_HOP)
def test_what_belongs_to_one_connection_stays_there(key: str) -> None:
    assert to_upstream([(key, "x"), ("kept", "y")]) == (("kept", "y"),)
    assert to_caller([(key, "x"), ("kept", "y")]) == ((("kept", "y"),), ())


@pytest.mark.parametrize(
    "key", ["authorization", "grpc-status-details-bin", "grpc-retry-pushback-ms", "hosts", "x-host", "traceparent"]
)
def test_everything_else_passes(key: str) -> None:
    pair = (key, b"\x08\x05" if key.endswith("-bin") else "x")
    assert to_upstream([pair]) == (pair,)
    assert to_caller([pair]) == ((pair,), ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("Upper", "x"), (":path", "x"), ("a b", "x"), ("", "x"), ("ü", "x"), ("a,b", "x"), ("a\n", "x")),
        *(("k", "ü"), ("k", "\n"), ("k", "\x7f"), ("k", "a\x00"), ("k", "x\n"), ("k", b"x"), ("k-bin", "x")),
    ],
)
def test_what_grpc_refuses_is_refused_upward_and_left_out_downward(key: str, value: str | bytes) -> None:
    with pytest.raises(IllegalMetadataError) as refused:
        to_upstream([("good", "y"), (key, value)])
    assert str(refused.value) == f"request metadata {key!r} cannot be forwarded: not legal in gRPC"
    assert to_caller([("good", "y"), (key, value)]) == ((("good", "y"),), (key,))


def test_nothing_is_nothing() -> None:
    assert to_upstream(()) == ()
    assert to_caller(()) == to_caller(None) == ((), ())
