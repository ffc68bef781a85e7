"""A stored entry comes back as it was; foreign bytes in its place are a miss and never an error."""

from dataclasses import replace

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from proxy.calls import entry
from proxy.calls.call import Reply
from proxy.calls.entry import Entry

RUN = b"f" * 40
IDENTITY = b"4:user1:1"


def _stored(body: bytes = b"body", *, identity: bytes = IDENTITY, run_id: bytes = RUN, version: bytes = b"1") -> bytes:
    """An entry's bytes as the fill script writes them."""
    return b"%b %b 1000 61000 71000 %b" % (version, run_id, entry.tail(identity, body))


def _decoded(value: object, *, identity: bytes = IDENTITY) -> Entry | None:
    return entry.decode(value, run_id=RUN, identity=identity)


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_round_trip(body: bytes, identity: bytes) -> None:
    assert _decoded(_stored(body, identity=identity), identity=identity) == Entry(body, 1000, 61000, 71000)


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_its_identity_can_be_told_without_knowing_it(body: bytes, identity: bytes) -> None:
    assert entry.identity_of(_stored(body, identity=identity)) == identity


def test_so_can_that_of_a_status_and_that_of_noise_is_empty() -> None:
    assert entry.identity_of(_stored_status(REFUSED)) == IDENTITY
    assert entry.identity_of(b"noise") == entry.identity_of(b"1 2 3 4 5 x 7\nnoise") == b""


def test_a_large_body() -> None:
    body = bytes(range(256)) * 4096
    found = _decoded(_stored(body))
    assert found is not None
    assert found.body == body


REFUSED = Reply(
    code=StatusCode.NOT_FOUND,
    details="no product with ID ü",
    trailing_metadata=(("grpc-status-details-bin", b"\x08\x05"),),
)


def _stored_status(reply: Reply) -> bytes:
    return b"1 %b 1000 61000 71000 %b" % (RUN, entry.tail(IDENTITY, b"", entry.negative(reply)))


def test_a_status_comes_back_with_its_details_and_nothing_else() -> None:
    sent = replace(REFUSED, trailing_metadata=(*REFUSED.trailing_metadata, ("x-trace", "7")))
    found = _decoded(_stored_status(sent))
    assert found == Entry(b"", 1000, 61000, 71000, REFUSED)
    assert found.reply == REFUSED
    assert Entry(b"body", 1, 2, 3).reply == Reply(b"body")


@given(st.text(max_size=50), st.binary(max_size=50))
def test_whatever_its_details_are(details: str, more: bytes) -> None:
    trailing = (("grpc-status-details-bin", more),) if more else ()
    sent = Reply(code=StatusCode.FAILED_PRECONDITION, details=details, trailing_metadata=trailing)
    found = _decoded(_stored_status(sent))
    assert found is not None
    assert found.negative == sent


@pytest.mark.parametrize("stored", [b"", b"x", b"5", b"99 0\n", b"5 x\n", b"5\n"])
def test_a_status_that_is_none_is_a_miss(stored: bytes) -> None:
    assert _decoded(b"1 %b 1000 61000 71000 %b" % (RUN, entry.tail(IDENTITY, b"", stored or b"\n"))) is None


class TestMiss:
    def test_another_redis_process_wrote_it(self) -> None:
        assert _decoded(_stored(run_id=b"e" * 40)) is None

    def test_another_version(self) -> None:
        assert _decoded(_stored(version=b"2")) is None

    def test_another_request(self) -> None:
        assert _decoded(_stored(identity=b"4:user1:2")) is None

    def test_an_identity_that_begins_like_ours(self) -> None:
        assert _decoded(_stored(b"", identity=IDENTITY + b"0")) is None
        assert _decoded(_stored(identity=IDENTITY[:-1])) is None

    def test_two_entries_that_were_swapped(self) -> None:
        fields = {b"a": _stored(b"of a", identity=b"a"), b"b": _stored(b"of b", identity=b"b")}
        fields[b"a"], fields[b"b"] = fields[b"b"], fields[b"a"]
        assert _decoded(fields[b"a"], identity=b"a") is None
        assert _decoded(fields[b"b"], identity=b"b") is None

    @pytest.mark.parametrize("value", [None, 7, "text", [], [b"x"], b"", b"\n", b"garbage", b"x" * 10_000_000])
    def test_what_is_no_entry_at_all(self, value: object) -> None:
        assert _decoded(value) is None

    @pytest.mark.parametrize("length", [b"-1", b"+3", b"x", b"", b"9" * 100, b"9" * 5000, b"\xff", b"1e3", b"1 2"])
    def test_a_header_that_does_not_add_up(self, length: bytes) -> None:
        assert _decoded(b"1 %b 1000 61000 71000 %b 1\n%bbody" % (RUN, length, IDENTITY)) is None

    @given(st.integers(0, 99))
    def test_one_that_was_cut(self, size: int) -> None:
        value = _stored(b"x" * 30)
        assert _decoded(value[: size % len(value)]) is None

    @given(st.integers(0, 99), st.integers(1, 255))
    def test_one_byte_of_it_was_changed(self, place: int, change: int) -> None:
        value = bytearray(_stored(b"x" * 30))
        at = len(value) - 1 - place % (30 + len(IDENTITY))
        value[at] ^= change
        assert _decoded(bytes(value)) is None

    @given(st.binary(max_size=300))
    def test_no_bytes_raise(self, value: bytes) -> None:
        assert _decoded(value) is None

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_nor_any_behind_a_good_beginning(self, header: bytes, rest: bytes) -> None:
        assert _decoded(b"1 %b %b\n%b" % (RUN, header, rest)) is None


def test_age_is_in_whole_seconds_and_never_negative() -> None:
    found = Entry(b"", born_ms=10_000, fresh_until_ms=0, stale_until_ms=0)
    assert [found.age(now) for now in (0, 9_999, 10_000, 10_999.9, 11_000, 71_500)] == [0, 0, 0, 0, 1, 61]
