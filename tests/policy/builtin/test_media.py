"""proxy.policy.builtin.media: treats every message as media.yaml does."""

import base64
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pb import media_pb2 as pb
from proxy.policy.bodies import BadBody
from proxy.policy.builtin.media import media_policy
from proxy.policy.compiled import LookUp, Policy, Read, Service, Write
from proxy.policy.compiled_events import Event
from proxy.policy.compiling import builtin_policy
from proxy.policy.descriptors import Descriptors
from proxy.policy.failures import ExpressionError
from proxy.policy.messages import Messages
from tests.fuzz.budget import budget, damaged, int64s, json_values

CONSTANTS = {"CACHE_BYPASS_PER_PAGE": 100}
YAML, PLAIN = builtin_policy(CONSTANTS), media_policy(CONSTANTS)
READ = "/media.MediaService/GetFilesByModel"
UPLOAD, DELETE = "/media.MediaService/UploadFile", "/media.MediaService/DeleteFile"

# No NUL: CEL's bindings cut a text there when they pass it to Python.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
types = st.sampled_from(["user", "User", "USER", "", "product", "İI", "ß", "ς", "ǅ", "a/b", "x" * 600]) | words
collections = st.sampled_from(["avatar", "avatars", "", "gallery"]) | words
small = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 19, 20, 99, 100])
urls = st.sampled_from(
    ["", "x", "https://s3/?X-Amz-Expires=5", "https://s3/?X-Amz-Date=20260101T000000Z&X-Amz-Expires=600"]
)


@st.composite
def files(draw: st.DrawFn) -> pb.Media:
    return pb.Media(
        id=draw(int64s | st.just(0)),
        model_type=draw(types),
        model_id=draw(int64s),
        collection_name=draw(collections),
        presigned_url=draw(urls),
    )


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    return pb.GetFilesByModelRequest(
        model_type=draw(types),
        model_id=draw(int64s),
        collection_name=draw(collections),
        page=draw(small),
        per_page=draw(small),
    ).SerializeToString()


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    data = pb.GetFilesByModelData(media=draw(st.lists(files(), max_size=4)), total=draw(small))
    return pb.GetFilesByModelResponse(success=draw(st.booleans()), data=data).SerializeToString()


@st.composite
def uploads(draw: st.DrawFn) -> bytes:
    return pb.UploadFileRequest(
        content=draw(st.binary(max_size=20)),
        model_type=draw(types),
        model_id=draw(int64s),
        collection_name=draw(collections),
    ).SerializeToString()


def whole_or_damaged(drawn: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return drawn | drawn.flatmap(damaged)


def outcome(of: Callable[[], object]) -> object:
    """The result of a call, or the kind of its failure; its text differs, since only CEL's says why."""
    try:
        return of()
    except ExpressionError:
        return ExpressionError
    except BadBody as bad:
        return bad.reason


def told(part: Any) -> dict[str, Any]:
    """The values of an object, without its callables."""
    found: dict[str, Any] = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if isinstance(value, Messages):
            found[each.name] = (value.default().DESCRIPTOR.full_name, value._named)
        elif isinstance(value, Read | Write | LookUp | Service | Event):
            found[each.name] = told(value)
        elif isinstance(value, Descriptors):
            found[each.name] = list(value.services())
        elif isinstance(value, dict):
            found[each.name] = {key: told(each) for key, each in value.items() if not isinstance(each, str)}
        elif isinstance(value, tuple):
            found[each.name] = [told(each) if isinstance(each, Event) else each for each in value]
        else:
            found[each.name] = "callable" if callable(value) else value
    return found


def test_both_say_the_same_of_the_service() -> None:
    assert told(PLAIN) == told(YAML)


def test_both_say_alike_why_a_read_is_forwarded() -> None:
    (plain,), (yaml,) = PLAIN.reads.values(), YAML.reads.values()
    assert plain.said["bypass"] == " ".join(yaml.said["bypass"].split())


def of_both(path: str, kind: Callable[[Policy], Any]) -> tuple[Any, Any]:
    return kind(YAML)[path], kind(PLAIN)[path]


@budget(400)
@given(whole_or_damaged(requests()), whole_or_damaged(answers()))
def test_both_say_the_same_of_a_read(request: bytes, answer: bytes) -> None:
    yaml, plain = of_both(READ, lambda policy: policy.reads)
    expected, found = yaml.asked(request), plain.asked(request)
    if expected is not None:
        assert found is not None
        assert bool(found.problem) is bool(expected.problem)
        assert (found.tag, found.canonical, found.bypass) == (expected.tag, expected.canonical, expected.bypass)
        assert found.about == expected.about
    else:
        assert found is None
    stored = [each.storable(request, answer) for each in (yaml, plain)]
    assert stored[0] == stored[1] or all(str(each).startswith("the policy cannot tell") for each in stored)
    assert plain.successful(request, answer) is yaml.successful(request, answer)
    assert plain.shown(request) == yaml.shown(request)
    assert str(plain.comparable(answer)) == str(yaml.comparable(answer))


@pytest.mark.parametrize("most", [0, 1, 20, 100])
@pytest.mark.parametrize("per_page", [0, 1, 19, 20, 21, 99, 100, -1])
def test_both_take_the_setting_for_large_pages(most: int, per_page: int) -> None:
    constants = {"CACHE_BYPASS_PER_PAGE": most}
    body = pb.GetFilesByModelRequest(model_type="user", per_page=per_page).SerializeToString()
    expected, found = (each(constants).reads[READ].asked(body) for each in (builtin_policy, media_policy))
    assert expected is not None
    assert found is not None
    assert found.bypass is expected.bypass


@budget(300)
@given(whole_or_damaged(uploads()), whole_or_damaged(answers()), st.booleans())
def test_both_say_the_same_of_an_upload(body: bytes, answer: bytes, unreadable: bool) -> None:
    yaml, plain = of_both(UPLOAD, lambda policy: policy.writes)

    def said(write: Write, part: str) -> object:
        return outcome(lambda: getattr(write, part)(write.requests.readable(body)))

    for part in ("invalidates", "alias", "describe"):
        assert said(plain, part) == said(yaml, part)
    assert plain.succeeded(answer, unreadable) is yaml.succeeded(answer, unreadable)


@budget(300)
@given(
    whole_or_damaged(int64s.map(lambda number: pb.DeleteFileRequest(id=number).SerializeToString())),
    whole_or_damaged(files().map(lambda file: pb.GetFileByIDResponse(data=file).SerializeToString())),
)
def test_both_say_the_same_of_a_delete(body: bytes, answer: bytes) -> None:
    yaml, plain = of_both(DELETE, lambda policy: policy.writes)

    def said(write: Write) -> object:
        request, look_up = write.requests.readable(body), write.look_up
        assert look_up is not None
        return (
            write.alias(request),
            write.invalidates(request),
            write.describe(request),
            look_up.request(request),
            outcome(lambda: look_up.tags(request, answer)),
            outcome(lambda: look_up.describe(answer)),
        )

    assert outcome(lambda: said(plain)) == outcome(lambda: said(yaml))


bodies = st.fixed_dictionaries(
    {},
    optional={
        "model_type": types | json_values,
        "model_id": int64s | int64s.map(str) | json_values,
        "collection_name": collections | json_values,
        "collection": collections | json_values,
        "media_id": int64s | json_values,
    },
)


@budget(300)
@given(bodies, st.integers(0, 1))
def test_both_say_the_same_of_an_event(data: dict[str, Any], which: int) -> None:
    yaml, plain = YAML.events[which], PLAIN.events[which]
    envelope = {"data": base64.b64encode(json.dumps(data).encode()).decode()}
    body, key = json.dumps(envelope).encode(), yaml.routing_keys[0]
    assert outcome(lambda: plain.tags_of(body, key)) == outcome(lambda: yaml.tags_of(body, key))
