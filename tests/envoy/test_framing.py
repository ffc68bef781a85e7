"""gRPC's rules for headers, messages and trailers."""

import gzip
import zlib

import pytest
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.envoy import framing
from proxy.transport.layers import NO_REQUEST
from proxy.transport.limits import Limits

LIMITS = Limits(message_bytes=1 << 20, compressed=True)


def message(body: bytes, encoding: bytes = b"") -> bytes | Reply:
    return framing.message(body[: framing.PREFIX], body[framing.PREFIX :], encoding, LIMITS)


def test_what_is_about_the_connection_or_the_message_is_no_metadata() -> None:
    headers = [
        *((b"host", b"h"), (b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"content-length", b"5")),
        *((b"grpc-accept-encoding", b"gzip"), (b"grpc-encoding", b"gzip"), (b"grpc-timeout", b"20S")),
        *((b"user-agent", b"a/1"), (b"k", b"1"), (b"k", b"\xe9")),
    ]
    head = framing.head(headers)
    assert head.metadata == (("user-agent", "a/1"), ("k", "1"), ("k", "é"))
    assert (head.timeout, head.encoding) == (20.0, b"gzip")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9)),
        *(
            (b"09999999S", 9999999.0),
            (b"99999999S", 31536000.0),
            (b"0S", 0.0),
            (b"123456789S", None),
            (b"S", None),
            (b"1s", None),
            (b"-1S", None),
        ),
    ],
)
def test_a_timeout_is_at_most_eight_digits_and_a_unit(value: bytes, seconds: float | None) -> None:
    assert framing.head([(b"grpc-timeout", value)]).timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b"AP8", [b"\x00\xff"]),
        (b"AP8=", [b"\x00\xff"]),
        (b"", [b""]),
        (b"AP8,AQ", [b"\x00\xff", b"\x01"]),
        (b"AP8=, AQ==", [b"\x00\xff", b"\x01"]),
    ],
)
def test_binary_metadata_is_base64_padded_or_not_one_or_several(value: bytes, decoded: list[bytes]) -> None:
    assert framing.head([(b"k-bin", value)]).metadata == tuple(("k-bin", each) for each in decoded)


@pytest.mark.parametrize("value", [b"A", b"*"])
def test_binary_metadata_that_is_no_base64_is_told(value: bytes) -> None:
    with pytest.raises(ValueError, match="not base64"):
        framing.head([(b"k-bin", value)])


def test_a_message_is_what_its_prefix_says() -> None:
    assert message(framing.framed(b"hello")) == b"hello"
    assert message(framing.framed(b"")) == b""


@pytest.mark.parametrize("body", [b"", framing.framed(b"a") + framing.framed(b"b"), framing.framed(b"a") + b"x"])
def test_there_is_exactly_one_message(body: bytes) -> None:
    assert message(body) is NO_REQUEST


@pytest.mark.parametrize(
    "body", [b"\x00", framing.framed(b"hello")[:-1], b"\x02\x00\x00\x00\x00", b"\x01\x00\x00\x00\x00"]
)
def test_a_message_that_is_cut_or_marked_wrongly_is_internal(body: bytes) -> None:
    reply = message(body)
    assert isinstance(reply, Reply)
    assert reply.code is StatusCode.INTERNAL


_GZIP = gzip.compress(b"hi", mtime=0)  # without the time, since the tests' names must be the same in all workers


@pytest.mark.parametrize(("encoding", "data"), [(b"gzip", _GZIP), (b"deflate", zlib.compress(b"hi"))])
def test_a_compressed_message_is_inflated(encoding: bytes, data: bytes) -> None:
    assert message(b"\x01" + framing.framed(data)[1:], encoding) == b"hi"
    assert message(framing.framed(b"as it is"), encoding) == b"as it is"


@pytest.mark.parametrize("data", [b"no gzip", _GZIP[:-1], _GZIP + b"more"])
def test_what_cannot_be_inflated_is_internal(data: bytes) -> None:
    reply = message(b"\x01" + framing.framed(data)[1:], b"gzip")
    assert isinstance(reply, Reply)
    assert reply.code is StatusCode.INTERNAL


def test_a_bomb_does_not_go_off() -> None:
    data = gzip.compress(bytes(LIMITS.message_bytes + 1), 1)
    reply = message(b"\x01" + framing.framed(data)[1:], b"gzip")
    assert isinstance(reply, Reply)
    assert reply.code is StatusCode.RESOURCE_EXHAUSTED


def test_an_encoding_that_is_not_accepted_is_unimplemented_and_says_which_are() -> None:
    assert all(framing.unsupported(encoding, LIMITS) is None for encoding in (b"", b"identity", b"gzip", b"deflate"))
    for encoding, limits, accepted in (
        (b"snappy", LIMITS, b"identity,deflate,gzip"),
        (b"gzip", Limits(compressed=False), b"identity"),
    ):
        reply = framing.unsupported(encoding, limits)
        assert reply is not None
        assert reply.code is StatusCode.UNIMPLEMENTED
        assert (b"grpc-accept-encoding", accepted) in framing.trailers_only(reply)


def test_a_message_above_the_limit_is_refused_by_its_length() -> None:
    assert framing.too_large(LIMITS.message_bytes, LIMITS) is None
    reply = framing.too_large(LIMITS.message_bytes + 1, LIMITS)
    assert reply is not None
    assert reply.code is StatusCode.RESOURCE_EXHAUSTED
    assert "MAX_MESSAGE_BYTES" in reply.details


def test_a_status_with_any_text_and_metadata() -> None:
    reply = Reply(code=StatusCode.DATA_LOSS, details="a%b\nü~ ", trailing_metadata=(("k", "1"), ("k-bin", b"\x00\xff")))
    ended = [(b"grpc-status", b"15"), (b"grpc-message", b"a%25b%0A%C3%BC~ "), (b"k", b"1"), (b"k-bin", b"AP8")]
    assert framing.trailers(reply) == ended
    assert framing.trailers_only(reply) == [(b"content-type", b"application/grpc"), *ended]
    assert framing.trailers(Reply(b"")) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("code", list(StatusCode))
def test_every_status_has_its_number(code: StatusCode) -> None:
    assert framing.trailers(Reply(code=code))[0] == (b"grpc-status", str(code.value[0]).encode())
