"""proxy.policy.jsonish: converts values and messages as people write them."""

import pytest
from google.protobuf import timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message

from proxy.pb import media_pb2 as pb
from proxy.policy.document import Document
from proxy.policy.jsonish import BadMessage, message_of, value_of


def test_a_plain_scalar_is_what_json_takes_it_for_and_all_else_is_text() -> None:
    text = (
        "a: 9007199254740993\nb: 1.5\nc: true\nd: null\ne: yes\nf: '7'\ng: 2001-01-01\nh: [1, x]\ni: {j: -1e3}\nk: 007"
    )
    assert value_of(Document(text, "c.yaml").root) == {
        "a": 9007199254740993,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "yes",
        "f": "7",
        "g": "2001-01-01",
        "h": [1, "x"],
        "i": {"j": -1000.0},
        "k": "007",
    }


def test_a_message_is_written_in_protobufs_json() -> None:
    message = message_of({"model_type": "user", "modelId": "9007199254740993"}, pb.GetFilesByModelRequest())
    assert message == pb.GetFilesByModelRequest(model_type="user", model_id=9007199254740993)


@pytest.mark.parametrize("value", [5, [], {"nope": 1}, {"model_id": "x"}, {"model_type": 5}])
def test_what_is_no_such_message_is_told_in_one_line(value: object) -> None:
    with pytest.raises(BadMessage) as failed:
        message_of(value, pb.GetFilesByModelRequest())
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, wrappers_pb2.Int64Value(value=3)),
        ("2026-01-02T03:04:05Z", timestamp_pb2.Timestamp(seconds=1767323045)),
        ({"seconds": 1}, None),
        ("soon", None),
        ([], None),
    ],
)
def test_a_well_known_message_is_spelled_as_json_has_it(value: object, message: Message | None) -> None:
    kind = timestamp_pb2.Timestamp() if message is None else type(message)()
    if message is not None:
        assert message_of(value, kind) == message
        return
    with pytest.raises(BadMessage, match="Timestamp: "):
        message_of(value, kind)


def test_a_value_within_itself_is_told() -> None:
    with pytest.raises(BadMessage, match="contains itself"):
        value_of(Document("&a {x: [*a]}", "p.yaml").root)
    assert value_of(Document("[&a {x: 1}, *a]", "p.yaml").root) == [{"x": 1}, {"x": 1}]
