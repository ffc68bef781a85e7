"""proxy.policy.bodies: decodes AMQP bodies."""

import base64
import json
from typing import Any

import pytest

from proxy.policy.bodies import (
    MAX_BODY_BYTES,
    BadBody,
    any_value,
    declared_fields,
    envelope_body,
    json_body,
    message_body,
    message_with,
)
from proxy.policy.descriptors import Descriptors
from tests.policy import PRODUCT

FIELDS = {"name": "text", "id": "int64", "more": "text?", "other": "int64?"}


def declared(body: object) -> Any:
    kind = Descriptors([message_with(FIELDS, "Event")]).message("policy.Event")
    return declared_fields(json_body, kind, FIELDS)(json.dumps(body).encode() if not isinstance(body, bytes) else body)


@pytest.mark.parametrize(
    "data",
    [
        '{"id": 7}',
        {"id": 7},
        base64.b64encode(b'{"id": 7}').decode(),
        base64.urlsafe_b64encode(b'{"id": 7, "x": "\xc3\xbf\xc3\xbf"}').decode().rstrip("="),
        " " + base64.b64encode(b'{"id": 7}').decode() + "\r\n",
    ],
)
def test_an_envelope_holds_the_object_in_any_spelling(data: object) -> None:
    assert envelope_body(json.dumps({"ownerId": "1", "data": data}).encode())["id"] == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), "oversize"),
        (b"{", "envelope"),
        (b"[]", "envelope"),
        (b"{}", "data"),
        (b'{"data": 5}', "data"),
        (b'{"data": "%%%"}', "data"),
        (b'{"data": "\xc3\xa9"}', "data"),
        (b'{"data": "{}}"}', "data"),
        (b'{"data": "W10="}', "data"),
        (b"[" * 100_000, "envelope"),
    ],
)
def test_an_unfit_envelope_says_which_part(body: bytes, reason: str) -> None:
    with pytest.raises(BadBody) as failed:
        envelope_body(body)
    assert failed.value.reason == reason


def test_whole_numbers_are_ints_however_they_are_written() -> None:
    body = b'{"a": 9223372036854775807, "b": 5.0, "c": 5e0, "d": 5.5, "e": 9223372036854775808, "f": [true, null, "x"]}'
    assert any_value(json_body)(body) == {
        "a": 2**63 - 1,
        "b": 5,
        "c": 5,
        "d": 5.5,
        "e": float(2**63),
        "f": [True, None, "x"],
    }


def test_a_text_that_cannot_be_encoded_is_empty() -> None:
    assert any_value(json_body)(b'{"a": "\\ud800", "\\ud800": {"b": ["\\udfff"]}}') == {"a": "", "": {"b": [""]}}


def test_a_text_with_a_nul_is_no_text() -> None:
    assert any_value(json_body)(b'{"a": "b\\u0000c"}') == {"a": None}


def test_declared_fields_are_read_from_numbers_and_texts() -> None:
    for written in (2**63 - 1, str(2**63 - 1)):
        event = declared({"name": "n", "id": written, "unknown": {}})
        assert (event.name, event.id, event.more, event.other) == ("n", 2**63 - 1, "", 0)
    assert declared(b'{"name": "n", "id": 5.0, "more": "m", "other": "7"}').other == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"id": 7}, "name"),
        ({"name": "", "id": 7}, "name"),
        ({"name": 5, "id": 7}, "name"),
        ({"name": "n"}, "id"),
        ({"name": "n", "id": 7.5}, "id"),
        ({"name": "n", "id": True}, "id"),
        ({"name": "n", "id": 2**63}, "id"),
        ({"name": "n", "id": "seven"}, "id"),
        (b'{"name": "n", "id": 1e999999999}', "id"),
    ],
)
def test_a_declared_field_that_is_missing_is_named(body: object, reason: str) -> None:
    with pytest.raises(BadBody) as failed:
        declared(body)
    assert failed.value.reason == reason


def test_a_message_of_a_type() -> None:
    read = message_body(Descriptors.of(PRODUCT).message("product.Product"))
    assert read(b"\x08\x07").id == 7
    with pytest.raises(BadBody, match="body"):
        read(b"\xff")
    with pytest.raises(BadBody, match="oversize"):
        read(b"x" * (MAX_BODY_BYTES + 1))
