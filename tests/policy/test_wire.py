"""Single fields are read as protobuf reads them, from any bytes, without copying the rest."""

import tracemalloc
from contextlib import suppress

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from proxy.pb.media_pb2 import UploadFileRequest
from proxy.policy import wire

INT64 = st.integers(-(2**63), 2**63 - 1)


def _read(body: bytes) -> tuple[str, int, str]:
    """model_type, model_id and collection_name, as the proxy reads them."""
    found = wire.fields(body, numbers={6}, texts={5, 7})
    return found.text(5), found.number(6), found.text(7)


def _parsed(body: bytes) -> tuple[str, int, str]:
    request = UploadFileRequest.FromString(body)
    return request.model_type, request.model_id, request.collection_name


REQUESTS = st.builds(
    UploadFileRequest,
    content=st.binary(max_size=40),
    file_name=st.text(max_size=5),
    size=INT64,
    model_type=st.text(max_size=5),
    model_id=INT64,
    collection_name=st.text(max_size=5),
).map(UploadFileRequest.SerializeToString)


@given(REQUESTS)
def test_it_agrees_with_protobuf(body: bytes) -> None:
    assert _read(body) == _parsed(body)


@given(REQUESTS, REQUESTS)
def test_the_last_of_a_repeated_field_wins(one: bytes, two: bytes) -> None:
    assert _read(one + two) == _parsed(one + two)


@given(REQUESTS, st.integers(0, 200))
def test_what_was_cut_is_malformed_or_read_as_protobuf_reads_it(body: bytes, size: int) -> None:
    body = body[:size]
    try:
        expected = _parsed(body)
    except DecodeError:
        with pytest.raises(wire.MalformedError):
            wire.fields(body, numbers={6}, texts={5, 7})
    else:
        assert _read(body) == expected


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with suppress(wire.MalformedError):
        wire.fields(body, numbers={6}, texts={5, 7})


@pytest.mark.parametrize("value", [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_ids_stay_exact(value: int) -> None:
    assert _read(UploadFileRequest(model_id=value).SerializeToString())[1] == value


def test_nothing_wanted_is_nothing_found() -> None:
    assert wire.fields(b"", numbers={4}, texts={5}) == wire.fields(b"")
    assert wire.fields(UploadFileRequest(size=5, name="a").SerializeToString()) == wire.fields(b"")


@pytest.mark.parametrize(
    "unknown",
    [
        b"\xa0\x06\x05",  # field 100, a number
        b"\xa1\x06" + bytes(8),  # 64 bits
        b"\xa5\x06" + bytes(4),  # 32 bits
        b"\xa2\x06\x02ab",  # bytes
        b"\x28\x05",  # a number where model_type's text belongs
        b"\x32\x01a",  # text where model_id's number belongs
        b"\x31" + bytes(8) + b"\x35" + bytes(4),  # model_id with fixed size
        b"\xa3\x06\x30\x07\xa4\x06",  # a group that holds a field 6
        b"\xa3\x06\xab\x06\xac\x06\x30\x07\xa4\x06",  # a group within it
    ],
)
def test_unknown_fields_are_passed_over(unknown: bytes) -> None:
    body = UploadFileRequest(model_type="user", model_id=5).SerializeToString()
    for whole in (body + unknown, unknown + body):
        assert _read(whole) == _parsed(whole) == ("user", 5, "")


@pytest.mark.parametrize(
    "body",
    [
        b"\x30",  # a tag alone
        b"\x30\xff",  # a number without an end
        b"\x30" + b"\xff" * 10 + b"\x01",  # a number of more than 64 bits
        b"\x2a\x05ab",  # shorter than it says
        b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # absurdly long
        b"\x31" + bytes(7),
        b"\x35" + bytes(3),
        b"\x00\x00",  # field number 0
        b"\xaa\x80\x80\x80\x10\x01a",  # a number beyond 2^29, whose lower 32 bits are those of field 5
        b"\x36\x00",  # wire type 6
        b"\x37",  # wire type 7
        b"\xa4\x06",  # the end of a group that did not begin
        b"\xa3\x06",  # a group without an end
    ],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(DecodeError):
        UploadFileRequest.FromString(body)
    with pytest.raises(wire.MalformedError):
        wire.fields(body, numbers={6}, texts={5, 7})


def test_the_content_is_not_copied() -> None:
    body = UploadFileRequest(content=bytes(50 << 20), model_type="user", model_id=5).SerializeToString()
    tracemalloc.start()
    try:
        assert _read(body) == ("user", 5, "")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 10
