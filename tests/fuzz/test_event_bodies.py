"""AMQP bodies: every accepted spelling of an event is the same event; nothing else raises anything but `BadEvent`."""

import base64
import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.builtin.model import INT64, Model
from tests.fuzz.budget import budget, damaged, int64s, json_values
from tests.support.media_events import MAX_BODY_BYTES, BadEvent, MediaEvent, Reason, parse
from tests.support.media_methods import MediaKeys

KEY = "media.event.uploaded"
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
events = st.builds(
    lambda model_type, model_id, collection, media_id: MediaEvent(
        Model.of(model_type, model_id), model_type, collection, media_id, "uploaded"
    ),
    texts.filter(bool),
    int64s,
    texts,
    st.none() | int64s,
)
more_fields = st.dictionaries(
    texts.filter(lambda name: name not in {"model_type", "model_id", "collection", "collection_name", "media_id"}),
    json_values,
    max_size=3,
)


_PLAIN = re.compile(r'"<number ([^"]*)>"')
"""A number that `json` would not write like this."""


@st.composite
def numbers(draw: st.DrawFn, value: int) -> Any:
    """An id as publishers write it: a number, also as a fraction or a power of ten, or a text of its digits."""
    forms: list[Any] = [value, str(value), f"+{value}" if value >= 0 else str(value)]
    return draw(st.sampled_from([*forms, f"<number {value}.0>", f"<number {value}0E-1>", f"<number {value}e+0>"]))


@st.composite
def fields(draw: st.DrawFn, event: MediaEvent) -> dict[str, Any]:
    """The fields of an event under either name, in any order, beside others."""
    found: dict[str, Any] = {"model_type": event.model_type, "model_id": draw(numbers(event.model.id))}
    if event.collection or draw(st.booleans()):
        found[draw(st.sampled_from(["collection_name", "collection"]))] = event.collection
    if event.media_id is not None:
        found["media_id"] = draw(numbers(event.media_id))
    found |= draw(more_fields)
    return dict(draw(st.permutations(list(found.items()))))


@st.composite
def written(draw: st.DrawFn, value: object) -> str:
    """JSON: with or without escapes and white space."""
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return _PLAIN.sub(r"\1", text)


@st.composite
def spelled(draw: st.DrawFn, event: MediaEvent) -> bytes:
    """The body of a message that says so, in one of the forms that were ever published."""
    inside = draw(fields(event))
    form = draw(st.sampled_from(["object", "text", "base64"]))
    data: object = inside
    if form == "text":
        data = draw(st.sampled_from(["", " ", "\n"])) + draw(written(inside))
    elif form == "base64":
        encode = draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes]))
        text = encode(draw(written(inside)).encode("utf-8", "surrogatepass")).decode()
        data = text.rstrip("=\n") if draw(st.booleans()) else text
    envelope = {"ownerId": draw(json_values), "data": data}
    return draw(written(envelope)).encode("utf-8", "surrogatepass")


@budget(600)
@given(st.data(), events)
def test_every_spelling_is_the_same_event(data: st.DataObject, event: MediaEvent) -> None:
    assert parse(data.draw(spelled(event)), KEY) == event


@budget(600)
@given(st.data(), events)
def test_damage_is_an_event_or_a_reason(data: st.DataObject, event: MediaEvent) -> None:
    _sound(data.draw(spelled(event).flatmap(damaged)))


@budget(800)
@given(st.data(), events, json_values)
def test_any_value_in_any_place_is_an_event_or_a_reason(data: st.DataObject, event: MediaEvent, junk: Any) -> None:
    inside = data.draw(fields(event))
    place = data.draw(st.sampled_from(["data", "model_type", "model_id", "collection", "collection_name", "media_id"]))
    said = junk if place == "data" else inside | {place: junk}
    body = json.dumps({"data": said if data.draw(st.booleans()) else json.dumps(said)})
    if place == "model_id" and (isinstance(junk, bool) or not isinstance(junk, str | int | float)):
        with pytest.raises(BadEvent, match="model_id"):
            parse(body.encode(), KEY)
    _sound(body.encode())
    _sound(json.dumps(junk).encode())


@budget(150)
@given(st.binary(max_size=100), st.integers(0, 9))
def test_an_absurd_size_is_refused_unread(start: bytes, beyond: int) -> None:
    with pytest.raises(BadEvent, match="oversize"):
        parse(start + bytes(MAX_BODY_BYTES + 1 + beyond - len(start)), KEY)


def _sound(body: bytes) -> None:
    """An event that can be acted on and said again, or a reason that tells nothing of the payload."""
    try:
        event = parse(body, KEY)
    except BadEvent as found:
        bad: BadEvent | None = found
    else:
        bad = None
    if bad is not None:
        assert str(bad) in get_args(Reason)
        return
    assert event.model == Model.of(event.model_type, event.model.id)
    assert event.model.id in INT64
    assert event.media_id is None or event.media_id in INT64
    assert MediaKeys("media", ()).of_tag(event.model)
    event.collection.encode()
    again = {"model_type": event.model_type, "model_id": event.model.id, "collection_name": event.collection}
    again |= {} if event.media_id is None else {"media_id": event.media_id}
    assert parse(json.dumps({"data": again}).encode(), KEY) == event
