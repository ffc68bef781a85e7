"""Metadata on its way through: a part of what came, in its order; never what belongs to one connection (I7)."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.calls.call import Metadata
from proxy.transport.metadata import IllegalMetadataError, to_caller, to_upstream
from tests.fuzz.budget import budget

# Spelled again on purpose: what the module forbids is what is to be checked.
FORBIDDEN = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings", "te"),
        *("trailer", "host", "content-type", "content-length", "grpc-timeout", "grpc-encoding", "grpc-message"),
        *("grpc-accept-encoding", "grpc-status", "lb-token", "lb-cost-bin", "user-agent"),
    }
)
_KEY_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
legal_keys = st.text(_KEY_ALPHABET, min_size=1, max_size=9)
keys = (
    legal_keys
    | st.sampled_from(sorted(FORBIDDEN))
    | st.sampled_from(["authorization", "x-a", "x-a-bin", "grpc-status-details-bin", "grpc-internal-encoding-request"])
    | legal_keys.map("grpc-internal-{}".format)
    | legal_keys.map("{}-bin".format)
    | st.text(max_size=5)
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9) | st.binary(max_size=9) | st.text()
pairs = st.lists(st.tuples(keys, values) | st.sampled_from([("x-a", "1"), ("x-a", "2")]), max_size=8)


def _forbidden(key: str) -> bool:
    return key in FORBIDDEN or key.startswith("grpc-internal-")


def _legal(key: str, value: str | bytes) -> bool:
    """gRPC over HTTP/2, "Custom-Metadata", with a look at each character."""
    if not key or any(character not in _KEY_ALPHABET for character in key):
        return False
    if isinstance(value, bytes):
        return key.endswith("-bin")
    return not key.endswith("-bin") and all(32 <= ord(character) <= 126 for character in value)


def _kept(given: Iterable[tuple[str, str | bytes]]) -> Metadata:
    return tuple(pair for pair in given if not _forbidden(pair[0]) and _legal(*pair))


@budget(800)
@given(pairs)
def test_what_goes_upstream(given_pairs: list[tuple[str, str | bytes]]) -> None:
    illegal = [key for key, value in given_pairs if not _forbidden(key) and not _legal(key, value)]
    if illegal:
        with pytest.raises(IllegalMetadataError) as refused:
            to_upstream(given_pairs)
        assert str(refused.value) == f"request metadata {illegal[0]!r} cannot be forwarded: not legal in gRPC"
        return
    passed = to_upstream(given_pairs)
    assert passed == _kept(given_pairs)
    assert to_upstream(passed) == passed


@budget(800)
@given(pairs)
def test_what_goes_to_the_caller(given_pairs: list[tuple[str, str | bytes]]) -> None:
    passed, lost = to_caller(given_pairs)
    assert passed == _kept(given_pairs)
    assert list(lost) == [key for key, value in given_pairs if not _forbidden(key) and not _legal(key, value)]
    assert to_caller(passed) == (passed, ())
