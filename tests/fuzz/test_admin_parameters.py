"""What operators ask: the call that is explained is the call that was described, in every spelling, or one line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.requests import Asked, BadRequestError, asked, parameters, seconds, word
from proxy.pb.media_pb2 import GetFilesByModelRequest
from tests.fuzz.budget import budget, damaged, int64s, json_values
from tests.support.media_methods import POLICY

JSON = "application/json"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
metadata_keys = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=8)
metadata_values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8)
requests = st.builds(
    GetFilesByModelRequest,
    model_type=texts.filter(bool),
    model_id=int64s,
    collection_name=texts,
    page=st.integers(-(2**31), 2**31 - 1),
    per_page=st.integers(-(2**31), 2**31 - 1),
)


def _named(request: GetFilesByModelRequest) -> dict[str, Any]:
    return {
        "model_type": request.model_type,
        "model_id": request.model_id,
        "collection": request.collection_name,
        "page": request.page,
        "per_page": request.per_page,
    }


@budget(400)
@given(requests, st.lists(st.tuples(metadata_keys, metadata_values), max_size=3), st.data())
def test_every_spelling_is_the_same_call(
    request: GetFilesByModelRequest, metadata: list[tuple[str, str]], data: st.DataObject
) -> None:
    named, pairs = _named(request), [f"{key}: {value}" for key, value in metadata]
    as_text = {name: str(value) for name, value in named.items()}
    separator = data.draw(st.sampled_from([":", "=", " : "]))
    spellings: list[tuple[dict[str, Any], bytes]] = [
        ({}, json.dumps(named | {"metadata": pairs}).encode()),
        ({}, json.dumps(as_text | {"metadata": [f"{key}{separator}{value}" for key, value in metadata]}).encode()),
        (as_text, json.dumps({"metadata": pairs}).encode()),
        ({**as_text, "model_type": "overruled"}, json.dumps(named | {"metadata": pairs}).encode()),
    ]
    for query, body in spellings:
        found = asked(parameters(query, body, JSON), POLICY.reads)
        assert GetFilesByModelRequest.FromString(found.call.body) == request
        assert found.call.metadata == tuple(metadata)
        assert found.shown == {**named, "model_id": str(request.model_id)}


@budget(600)
@given(requests, json_values, st.data())
def test_any_value_in_any_place_is_a_call_or_a_line(
    request: GetFilesByModelRequest, junk: Any, data: st.DataObject
) -> None:
    named = _named(request) | {"metadata": ["authorization: hunter2hunter2"]}
    for place in named:
        _sound(json.dumps(named | {place: junk}).encode())
    _sound(json.dumps(junk).encode())
    _sound(data.draw(damaged(json.dumps(named).encode(), 2)))


@budget(200)
@given(st.dictionaries(metadata_keys, json_values, max_size=2), st.sampled_from([JSON, "text/plain", "a\nb", ""]))
def test_a_body_of_another_type_is_refused(body: dict[str, Any], content_type: str) -> None:
    raw = json.dumps(body).encode()
    if content_type == JSON:
        assert json.dumps(parameters({}, raw, content_type)) == json.dumps(json.loads(raw))
        return
    with pytest.raises(BadRequestError) as refused:
        parameters({}, raw, content_type)
    assert str(refused.value).isprintable()


@budget(300)
@given(json_values)
def test_words_and_times_are_understood_or_a_line(value: Any) -> None:
    for read in (lambda: word({"x": value}, "x", ("on", "off")), lambda: seconds({"x": value}, "x")):
        try:
            found = read()
        except BadRequestError as refused:
            line = str(refused)
        else:
            line = ""
            assert found in {"on", "off", None} or (isinstance(found, float) and 0 <= found < 1e12 + 1)
        assert len(line) < 300
        assert not line or line.isprintable()


def _sound(body: bytes) -> None:
    """A call that says of itself what it asks for, or a line that tells nobody's credentials."""
    found: Asked | None = None
    try:
        found = asked(parameters({}, body, JSON), POLICY.reads)
    except BadRequestError as refused:
        line = str(refused)
    else:
        line = ""
    assert line.replace("…", "").isascii()
    assert not line or line.isprintable()
    assert "hunter2" not in line.partition("metadata")[2]
    if found is not None:
        request = GetFilesByModelRequest.FromString(found.call.body)
        assert {**_named(request), "model_id": str(request.model_id)} == found.shown
        assert all(isinstance(value, str) and value.isprintable() for _, value in found.call.metadata)
