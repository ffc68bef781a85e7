"""proxy.policy.messages: parses bytes into messages for expressions."""

import tracemalloc

import pytest

from proxy.pb import media_pb2 as pb
from proxy.policy.failures import ExpressionError
from proxy.policy.messages import Messages

UPLOAD = pb.UploadFileRequest.DESCRIPTOR
NAMED = ["request.model_type + string(request . model_id)"]


def test_a_whole_message_has_no_unknown_fields() -> None:
    messages = Messages(pb.GetFilesByModelRequest.DESCRIPTOR)
    body = pb.GetFilesByModelRequest(model_type="user", model_id=7).SerializeToString()
    message = messages.whole(body)
    assert message is not None
    assert message.SerializeToString() == body
    assert messages.whole(body + b"\xf8\x01\x05") is None  # field 31
    assert messages.whole(b"\xff") is None


def test_an_unknown_field_within_a_message_counts_too() -> None:
    messages = Messages(pb.GetFileByIDResponse.DESCRIPTOR)
    assert messages.whole(b"\x1a\x03\xf8\x01\x05") is None
    assert messages.readable(b"\x08\x01\x1a\x03\xf8\x01\x05").success  # type: ignore[attr-defined]


def test_of_a_write_only_the_fields_are_parsed_that_expressions_name() -> None:
    request = pb.UploadFileRequest(content=b"x", file_name="f", model_type="User", model_id=7)
    message = Messages(UPLOAD, "request", NAMED).readable(request.SerializeToString())
    assert message.SerializeToString() == pb.UploadFileRequest(model_type="User", model_id=7).SerializeToString()


def test_fifty_mib_are_not_copied() -> None:
    body = pb.UploadFileRequest(content=bytes(50 << 20), model_type="User", model_id=7).SerializeToString()
    messages = Messages(UPLOAD, "request", NAMED)
    tracemalloc.start()
    try:
        messages.readable(body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "expression", ["f(request)", "[request]", "request == request", "'a request'", "request\n.size()"]
)
def test_an_expression_that_may_look_at_all_of_it_gets_all_of_it(expression: str) -> None:
    request = pb.UploadFileRequest(content=b"x", model_type="User")
    assert (
        Messages(UPLOAD, "request", [expression]).readable(request.SerializeToString()).ByteSize() == request.ByteSize()
    )


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05x", b"\x2a\x01\xff"])
def test_what_is_no_such_message_is_an_error_of_the_expression(body: bytes) -> None:
    with pytest.raises(ExpressionError, match=r"it is not a media\.UploadFileRequest"):
        Messages(UPLOAD, "request", NAMED).readable(body)
