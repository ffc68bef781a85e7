"""What is asked of the admin server: what is understood, and what is answered in one line instead."""

import json
from typing import Any

import pytest

from proxy.admin import requests
from proxy.admin.requests import BadRequestError
from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.policy.builtin.model import Model
from tests.support.media_methods import POLICY

USER = {"model_type": "User", "model_id": 123}


def body(value: Any) -> dict[str, Any]:
    return requests.parameters({}, json.dumps(value).encode(), "application/json")


def test_parameters_are_those_of_the_query_and_of_the_body_which_wins() -> None:
    query = {"model_type": "user", "model_id": "1"}
    assert requests.parameters(query, b"", "") == query
    assert requests.parameters(query, b'{"model_id": 2}', "application/json") == {"model_type": "user", "model_id": 2}


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b"[]", "application/json"),
        (b'"user"', "application/json"),
        (b"[" * 10_000, "application/json"),
        (b'{"a": ' * 10_000, "application/json"),
        (b"{}", "text/plain"),
        (b"mode=off", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(text: bytes, content_type: str) -> None:
    with pytest.raises(BadRequestError, match=r"^body: .*; accepted: [^\n]*$"):
        requests.parameters({}, text, content_type)


@pytest.mark.parametrize("model_id", [123, "123", " 123 ", "-5", 2**63 - 1, str(-(2**63))])
def test_a_model_is_a_type_and_an_int64(model_id: int | str) -> None:
    assert requests.named(body({"model_type": "User", "model_id": model_id})).tag == Model.of("user", int(model_id))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model_id": 1}, "model_type: is missing; accepted: a text, like user"),
        ({"model_type": "", "model_id": 1}, "model_type: '' is not understood; accepted: a text, like user"),
        ({"model_type": 5, "model_id": 1}, "model_type: 5 is not understood; accepted: a text of at most 1000 bytes"),
        (
            {"model_type": ["user"], "model_id": 1},
            "model_type: ['user'] is not understood; accepted: a text of at most",
        ),
        (
            {"model_type": "\ud800", "model_id": 1},
            "model_type: '\\ud800' is not understood; accepted: a text of at most",
        ),
        ({"model_type": "u" * 1001, "model_id": 1}, "…"),
        ({"model_type": "user"}, "model_id: is missing; accepted: a whole number of 64 bits"),
        ({"model_type": "user", "model_id": "soon"}, "model_id: 'soon' is not understood; accepted: a whole number"),
        ({"model_type": "user", "model_id": 1.0}, "model_id: 1.0 is not understood"),
        ({"model_type": "user", "model_id": True}, "model_id: True is not understood"),
        ({"model_type": "user", "model_id": 2**63}, "model_id: 9223372036854775808 is not understood"),
        ({"model_type": "user", "model_id": None}, "model_id: is missing"),
        ({"model_type": "user", "model_id": {"a": 1}}, "model_id: {'a': 1} is not understood"),
        ({"model_type": "user", "model_id": "1" * 50}, "model_id: '1"),
    ],
)
def test_a_wrong_model_is_one_line_with_what_is_accepted(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError) as refusal:
        requests.named(given)
    assert said in str(refusal.value)
    assert "; accepted: " in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250


def test_a_word_is_taken_in_any_case_and_another_is_refused() -> None:
    assert requests.word({"mode": " OFF "}, "mode", ("on", "off")) == "off"
    for given in ({}, {"mode": "of"}, {"mode": 1}, {"mode": ["off"]}):
        with pytest.raises(BadRequestError, match=r"^mode: .*; accepted: on, off$"):
            requests.word(given, "mode", ("on", "off"))


def test_a_time_is_seconds() -> None:
    assert requests.seconds({}, "since") is None
    assert requests.seconds({"since": "1700000000.25"}, "since") == 1700000000.25
    assert requests.seconds({"since": 0}, "since") == 0.0
    for wrong in ("soon", "-1", "nan", "inf", "1e5", True, [1], ["1", "2"]):
        with pytest.raises(BadRequestError, match=r"^since: .*; accepted: seconds since 1970$"):
            requests.seconds({"since": wrong}, "since")


def test_a_call_is_the_request_that_a_caller_would_send() -> None:
    asked = requests.asked({**USER, "collection": "avatars", "page": "2", "per_page": 20}, POLICY.reads)
    request = GetFilesByModelRequest.FromString(asked.call.body)
    expected = GetFilesByModelRequest(model_type="User", model_id=123, collection_name="avatars", page=2, per_page=20)
    assert request == expected
    assert asked.shown == {**USER, "model_id": "123", "collection": "avatars", "page": 2, "per_page": 20}
    assert asked.call.metadata == ()


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ("authorization: Bearer x", (("authorization", "Bearer x"),)),
        ("tenant=7", (("tenant", "7"),)),
        (["a:1", "a:2"], (("a", "1"), ("a", "2"))),
        ({"a": "1", "b": "2"}, (("a", "1"), ("b", "2"))),
        ([], ()),
    ],
)
def test_metadata_is_pairs(given: Any, pairs: tuple[tuple[str, str], ...]) -> None:
    assert requests.asked({**USER, "metadata": given}, POLICY.reads).call.metadata == pairs


@pytest.mark.parametrize("given", ["secret", "Kéy: secret", 5, [["a", "secret"]], "a: secret\nb: c", ["a:1", "secret"]])
def test_wrong_metadata_is_refused_and_not_shown(given: Any) -> None:
    with pytest.raises(BadRequestError, match=r"^metadata: ") as refusal:
        requests.asked({**USER, "metadata": given}, POLICY.reads)
    assert "secret" not in str(refusal.value)


def test_a_model_is_not_understood_where_the_policy_has_no_media_service() -> None:
    with pytest.raises(BadRequestError) as refusal:
        requests.asked(USER, {})
    assert str(refusal.value) == (
        "model_type: the policy has no read of a model's files; accepted: "
        "method, one of the policy's reads (it has none), and request"
    )


def test_a_method_of_the_policy_is_asked_with_its_request() -> None:
    given = {"method": "GetFilesByModel", "request": {"model_type": "User", "model_id": "123"}}
    for request in (given["request"], json.dumps(given["request"])):
        asked = requests.asked({**given, "request": request}, POLICY.reads)
        assert GetFilesByModelRequest.FromString(asked.call.body) == GetFilesByModelRequest(
            model_type="User", model_id=123
        )
        assert asked.shown == {"method": "media.MediaService/GetFilesByModel", "request": given["request"]}


@pytest.mark.parametrize("name", ["page", "per_page"])
def test_pages_are_int32(name: str) -> None:
    for wrong in (2**31, "many", 1.5, False):
        with pytest.raises(BadRequestError, match=rf"^{name}: .*; accepted: a whole number of 32 bits$"):
            requests.asked({**USER, name: wrong}, POLICY.reads)
