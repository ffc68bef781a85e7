"""Every form of a media event that the contract lists is understood; any other body raises only `BadBody`."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.builtin.model import INT64, Model
from tests.support.media_events import MAX_BODY_BYTES, BadEvent, MediaEvent, Reason, kind_of, parse

UPLOADED = "media.event.uploaded"
DELETED = "media.event.deleted"
AVATAR = {
    "media_id": 456,
    "uuid": "u",
    "model_type": "User",
    "model_id": 123,
    "collection_name": "avatar",
    "size": 52428,
}

Encoder = Callable[[dict[str, Any]], object]


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


ENCODERS: dict[str, Encoder] = {
    "base64": lambda fields: base64.b64encode(_json(fields)).decode(),
    "base64 unpadded": lambda fields: base64.b64encode(_json(fields)).decode().rstrip("="),
    "base64 in lines": lambda fields: base64.encodebytes(_json(fields)).decode(),
    "url-safe": lambda fields: base64.urlsafe_b64encode(_json(fields)).decode(),
    "url-safe unpadded": lambda fields: base64.urlsafe_b64encode(_json(fields)).decode().rstrip("="),
    "object": lambda fields: fields,
    "JSON string": json.dumps,
    "JSON string, indented": lambda fields: "\n " + json.dumps(fields, indent=2, ensure_ascii=False),
}


def _body(data: object, **envelope: object) -> bytes:
    return json.dumps({"ownerId": "123", "data": data, **envelope}).encode()


def _reason(body: bytes) -> str:
    with pytest.raises(BadEvent) as caught:
        parse(body, UPLOADED)
    return caught.value.reason


int64s = st.integers(INT64[0], INT64[-1])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
field_names = st.sampled_from(["model_type", "model_id", "collection_name", "collection", "media_id", "data", "extra"])
fields_of_any_type = st.dictionaries(field_names, json_values)


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
def test_each_form_of_data_is_understood(encode: Encoder) -> None:
    expected = MediaEvent(Model.of("user", 123), "User", "avatar", 456, "uploaded")
    assert parse(_body(encode(AVATAR)), UPLOADED) == expected


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@given(
    model_type=texts.filter(bool),
    model_id=int64s,
    collection=texts,
    media_id=st.none() | int64s,
    collection_key=st.sampled_from(["collection_name", "collection"]),
    number=st.sampled_from([int, str]),
    extra=json_values,
)
def test_each_form_round_trips(  # the name of each argument is the name of what goes in
    encode: Encoder,
    model_type: str,
    model_id: int,
    collection: str,
    media_id: int | None,
    collection_key: str,
    number: Callable[[int], object],
    extra: object,
) -> None:
    fields = {
        "model_type": model_type,
        "model_id": number(model_id),
        collection_key: collection,
        "media_id": media_id,
        "x": extra,
    }
    assert parse(_body(encode(fields)), DELETED) == MediaEvent(
        Model.of(model_type, model_id), model_type, collection, media_id, "deleted"
    )


@given(st.binary())
def test_any_bytes_give_bad_event_or_an_event(body: bytes) -> None:
    with contextlib.suppress(BadEvent):
        parse(body, UPLOADED)


@given(st.sampled_from(list(ENCODERS.values())), fields_of_any_type, json_values)
def test_any_structure_gives_bad_event_or_an_event(encode: Encoder, fields: dict[str, Any], owner: object) -> None:
    with contextlib.suppress(BadEvent):
        parse(_body(encode(fields), ownerId=owner), UPLOADED)


@given(json_values, st.binary())
def test_any_data_gives_bad_event_or_an_event(data: object, raw: bytes) -> None:
    for body in (_body(data), _body(base64.b64encode(raw).decode()), json.dumps(data).encode()):
        with contextlib.suppress(BadEvent):
            parse(body, UPLOADED)


@given(model_id=st.sampled_from([1, "1"]), media_id=json_values, collection_name=json_values, collection=json_values)
def test_odd_optional_fields_leave_the_event_valid(
    model_id: object, media_id: object, collection_name: object, collection: object
) -> None:
    fields = {"media_id": media_id, "collection_name": collection_name, "collection": collection}
    event = parse(_body({"model_type": "user", "model_id": model_id, **fields}), UPLOADED)
    assert event.model == Model.of("user", 1)
    assert event.media_id is None or event.media_id in INT64
    event.collection.encode()


@pytest.mark.parametrize("spelled", ["user", "User", "USER", "App\\Models\\Straße"])
def test_any_case_of_model_type_is_one_model_and_the_spelling_is_kept(spelled: str) -> None:
    event = parse(_body({"model_type": spelled, "model_id": 1}), UPLOADED)
    assert (event.model, event.model_type) == (Model.of(spelled.casefold(), 1), spelled)


@pytest.mark.parametrize(
    ("written", "model_id"),
    [
        ("9007199254740993", 2**53 + 1),
        ('"9007199254740993"', 2**53 + 1),
        ("9007199254740993.0", 2**53 + 1),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1e3", 1000),
        ("0", 0),
        ('"007"', 7),
    ],
)
def test_model_id_is_exact(written: str, model_id: int) -> None:
    event = parse(f'{{"data": {{"model_type": "user", "model_id": {written}}}}}'.encode(), UPLOADED)
    assert event.model.id == model_id


@pytest.mark.parametrize(
    "written",
    [
        "null", '""', '" "', '"x"', '"1.0"', '"1_000"', '"\uff11"', "true", "1.5", "1e-999999999", "1e999999999",
        "1e99999999999999999999", "NaN", "-Infinity", "[1]", "{}", "9223372036854775808", "-9223372036854775809",
        '"9223372036854775808"', pytest.param("9" * 5000, id="5000 digits"),
        pytest.param(f'"{"9" * 5000}"', id="5000 characters"),
    ],
)  # fmt: skip
def test_a_model_id_that_is_no_int64_is_bad(written: str) -> None:
    assert _reason(f'{{"data": {{"model_type": "user", "model_id": {written}}}}}'.encode()) == "model_id"


def test_a_missing_model_id_is_bad() -> None:
    assert _reason(_body({"model_type": "user"})) == "model_id"


@pytest.mark.parametrize(
    "fields", [{}, {"model_type": ""}, {"model_type": None}, {"model_type": 5}, {"model_type": "\ud800"}]
)
def test_a_model_type_that_is_missing_or_no_text_is_bad(fields: dict[str, Any]) -> None:
    assert _reason(_body({"model_id": 1, **fields})) == "model_type"


def test_an_absurd_number_in_an_ignored_field_harms_nothing() -> None:
    fields = f'{{"model_type": "user", "model_id": 1, "size": {"9" * 5000}, "ratio": 1e99999999999999999999, "x": NaN}}'
    assert parse(b'{"data": %b}' % fields.encode(), UPLOADED).model == Model.of("user", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"5", b"{", b"NaN", b"\xff\xfe", b'{"data": "\xff"}', b"\x00",
        pytest.param(b"[" * 500_000, id="deep list"), pytest.param(b'{"a":' * 100_000, id="deep object"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_bad(body: bytes) -> None:
    assert _reason(body) == "envelope"


@pytest.mark.parametrize(
    "data",
    [
        None, 5, True, [], [AVATAR], "", "é", "====", "a", "@@@@", "{", '{"model_type": "user"', '"x"',
        base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode(), base64.b64encode(b"\xff\xfe\xfd").decode(),
        pytest.param('{"a":' * 100_000, id="deep JSON string"),
        pytest.param(base64.b64encode(b"[" * 100_000).decode(), id="deep base64"),
    ],
)  # fmt: skip
def test_data_that_holds_no_object_is_bad(data: object) -> None:
    assert _reason(_body(data)) == "data"


def test_missing_data_is_bad() -> None:
    assert _reason(b'{"ownerId": "123"}') == "data"


def test_a_body_is_bounded_before_it_is_decoded() -> None:
    valid = _body(AVATAR)
    assert parse(valid + b" " * (MAX_BODY_BYTES - len(valid)), UPLOADED).model == Model.of("user", 123)
    assert _reason(valid + b" " * (MAX_BODY_BYTES - len(valid) + 1)) == "oversize"


def test_of_duplicate_keys_the_last_counts() -> None:
    body = b'{"data": null, "data": {"model_type": "a", "model_type": "user", "model_id": "x", "model_id": 5}}'
    assert parse(body, UPLOADED).model == Model.of("user", 5)


def test_collection_name_goes_before_collection() -> None:
    fields = {"model_type": "user", "model_id": 1, "collection": "old"}
    assert parse(_body({**fields, "collection_name": "new"}), UPLOADED).collection == "new"
    assert parse(_body({**fields, "collection_name": ""}), UPLOADED).collection == "old"


@pytest.mark.parametrize(
    ("routing_key", "kind"),
    [
        (UPLOADED, "uploaded"),
        (DELETED, "deleted"),
        ("api-gateway-media-cache-uploaded", "uploaded"),
        ("api-gateway-media-cache-deleted", "deleted"),
        ("media.event.renamed", "other"),
        ("", "other"),
    ],
)
def test_the_kind_comes_from_the_routing_key(routing_key: str, kind: str) -> None:
    assert kind_of(routing_key) == kind
    assert parse(_body(AVATAR), routing_key).kind == kind


def test_a_bad_event_shows_nothing_of_the_payload() -> None:
    with pytest.raises(BadEvent) as caught:
        parse(_body({"model_type": "user", "model_id": "s3cret"}), UPLOADED)
    assert str(caught.value) in get_args(Reason)
    assert caught.value.__cause__ is None
