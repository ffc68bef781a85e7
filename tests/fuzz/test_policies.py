"""Policy files and expressions: a policy or its mistakes; of any message a value or one error."""

import json
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from proxy.calls.reads import Verdict
from proxy.policy.bodies import BadBody, any_value, envelope_body, json_body
from proxy.policy.compiled import Policy
from proxy.policy.compiling import builtin_policy, builtin_text
from proxy.policy.descriptors import BadDescriptors, Descriptors
from proxy.policy.expressions import BadExpression, Language, Variable
from proxy.policy.failures import ExpressionError
from proxy.policy.loading import load_policy
from proxy.policy.mistakes import PolicyError
from proxy.policy.tags import LONGEST_TAG, MOST_TAGS
from tests.fuzz.budget import budget, damaged, int64s, json_values
from tests.policy import CONSTANTS, EXAMPLES, PRODUCT, compiled

PRODUCT_POLICY = (EXAMPLES / "product.yaml").read_text()
BUILTIN = builtin_policy(CONSTANTS)
DESCRIPTORS = Descriptors.of(PRODUCT)
LANGUAGE = Language(DESCRIPTORS.pool, CONSTANTS)
VARIABLES = {"request": Variable("product.Product"), "event": Variable("json")}
KEYS = [
    "version",
    "services",
    "name",
    "builtin",
    "reads",
    "method",
    "tag",
    "ttl",
    "vary",
    "events",
    "log",
    "queue",
    "x",
]
texts = st.text(max_size=12)
scalars = st.one_of(
    texts,
    st.sampled_from(
        ["1", "true", "product.ProductService", "product.binpb", "GetProductByID", "'a'", "request.id", "1h", "[]"]
    ),
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=6),
    max_leaves=20,
)


def taken_or_refused(text: str) -> None:
    try:
        compiled(text)
    except PolicyError as error:
        mistakes = error.mistakes
    else:
        return
    assert mistakes
    assert all(mistake.place.line > 0 and mistake.place.column > 0 for mistake in mistakes)
    assert all("\n" not in str(mistake) and len(str(mistake)) < 2000 for mistake in mistakes)
    assert all("accepted: " in mistake.text for mistake in mistakes), mistakes


@budget(300)
@given(documents)
def test_any_document_is_a_policy_or_its_mistakes(document: Any) -> None:
    taken_or_refused(json.dumps(document))


@budget(300)
@given(st.sampled_from([PRODUCT_POLICY, builtin_text()]).map(str.encode).flatmap(damaged))
def test_a_damaged_file_is_a_policy_or_its_mistakes(data: bytes) -> None:
    taken_or_refused(data.decode(errors="replace"))


@budget(300)
@given(damaged(PRODUCT))
def test_damaged_descriptors_are_some_or_refused(data: bytes) -> None:
    try:
        found = Descriptors.of(data)
    except BadDescriptors as bad:
        told = str(bad)
    else:
        told = " ".join(method for service in found.services() for method in found.methods(service))
    assert "\n" not in told


pieces = st.sampled_from(
    [
        *("request", "event", "request.id", "request.slug", "event.a", "string(", "CACHE_BYPASS_PER_PAGE", "'a'", "x"),
        *(")", "[", "]", "{", "}", ".", "+", "-", "*", "/", "==", "&&", "||", "!", "?", ":", ",", "1", "1u", "2.5"),
        *("true", "null", "b'x'", "map(", "filter(", "size(", "has(", "int(", "casefold()", "split('/')", "matches("),
        *("product.Product{", "timestamp("),
    ]
)


@budget(500)
@given(st.lists(pieces, max_size=12).map(" ".join) | texts, json_values, int64s)
def test_any_expression_is_refused_or_gives_a_text_or_one_error(text: str, value: Any, number: int) -> None:
    try:
        expression = LANGUAGE.compile(text, VARIABLES, "text")
    except BadExpression:
        return
    try:
        result = expression(
            request=DESCRIPTORS.message("product.Product")(id=number),
            event=any_value(json_body)(json.dumps({"a": value}).encode()),
        )
    except ExpressionError:
        return
    assert isinstance(result, str)


def _values(field: Any) -> st.SearchStrategy[Any]:
    """Of a field that is no message."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=600)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        return st.floats(width=32)
    small = {
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    }
    return small.get(field.cpp_type, int64s)


def _fill(draw: st.DrawFn, made: Message, depth: int) -> None:
    for field in made.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        several = draw(st.integers(1, 3)) if field.is_repeated else 1
        for _ in range(several):
            if field.message_type is None:
                value = draw(_values(field))
                getattr(made, field.name).append(value) if field.is_repeated else setattr(made, field.name, value)
            elif depth:
                inner = getattr(made, field.name)
                _fill(draw, inner.add() if field.is_repeated else inner, depth - 1)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> bytes:
    """A message of random fields, inner ones too, or bytes that are none."""
    made = kind()
    _fill(draw, made, 2)
    return draw(st.just(made.SerializeToString()) | damaged(made.SerializeToString()))


EXAMPLE_POLICIES = {name: load_policy(str(EXAMPLES / f"{name}.yaml")) for name in ("product", "boutique", "media-all")}


@pytest.mark.parametrize("policy", EXAMPLE_POLICIES.values(), ids=EXAMPLE_POLICIES)
@budget(150)
@given(data=st.data())
def test_of_any_message_a_read_says_something_and_raises_nothing(policy: Policy, data: st.DataObject) -> None:
    for read in policy.reads.values():
        body = data.draw(messages(type(read.requests.default())))
        answer = data.draw(messages(type(read.responses.default())))
        asked = read.asked(body)
        if asked is not None:
            assert asked.bypass if asked.problem else 0 < len(asked.tag.encode()) <= LONGEST_TAG
            assert (asked.tag, asked.canonical) == ((again := read.asked(body)) and (again.tag, again.canonical))
        verdict = read.storable(body, answer)
        if isinstance(verdict, Verdict):
            assert len(verdict.further_tags) <= MOST_TAGS
            assert all(0 < len(tag.encode()) <= LONGEST_TAG for tag in verdict.further_tags)
        assert read.successful(body, answer) in {True, False}
        json.dumps(read.shown(body))
        assert read.comparable(answer) == read.comparable(answer)


@pytest.mark.parametrize("policy", [BUILTIN, *EXAMPLE_POLICIES.values()], ids=["builtin", *EXAMPLE_POLICIES])
@budget(150)
@given(data=st.data())
def test_of_any_body_an_event_tells_tags_in_bounds_or_which_part_is_unfit(policy: Policy, data: st.DataObject) -> None:
    fields = st.sampled_from(["product_id", "model_type", "model_id", "collection_name", "data"]) | texts
    objects = st.dictionaries(fields, json_values, max_size=5)
    body = json.dumps(data.draw(objects | objects.map(lambda each: {"data": each}))).encode()
    for event in policy.events:
        tags: tuple[str, ...] = ()
        reason = "none"
        try:
            tags, _ = event.tags_of(data.draw(st.just(body) | damaged(body)), event.routing_keys[0])
        except BadBody as bad:
            reason = bad.reason
        assert reason.isidentifier()
        assert len(tags) <= MOST_TAGS
        assert all(0 < len(tag.encode()) <= LONGEST_TAG for tag in tags)


@budget(300)
@given(st.data())
def test_the_built_in_policy_makes_tags_in_bounds_of_any_message(data: st.DataObject) -> None:
    service = BUILTIN.services["media.MediaService"]
    for write in service.writes.values():
        body = data.draw(messages(type(write.requests.default())))
        try:
            request = write.requests.readable(body)
            tags = write.invalidates(request)
        except ExpressionError:
            continue
        assert len(tags) <= MOST_TAGS
        assert all(0 < len(tag.encode()) <= LONGEST_TAG for tag in tags)
        write.describe(request)
        write.succeeded(body, True)
    for read in service.reads.values():
        body = data.draw(messages(type(read.requests.default())))
        request_or_none = read.requests.whole(body)
        if request_or_none is None:
            continue
        try:
            assert 0 < len(read.tag_of(request_or_none).encode()) <= LONGEST_TAG
            read.bypasses(request_or_none)
            read.storable(body, data.draw(messages(type(read.responses.default()))))
        except ExpressionError:
            continue


@budget(300)
@given(json_values, st.binary(max_size=50))
def test_any_body_is_a_value_that_expressions_take_or_unfit(value: Any, data: bytes) -> None:
    expression = LANGUAGE.compile("string(event.data.a)", VARIABLES, "text")
    for body in (
        json.dumps(value).encode(),
        json.dumps({"data": value}).encode(),
        json.dumps({"data": {"a": value}}).encode(),
        data,
    ):
        for read in (json_body, envelope_body):
            try:
                expression(event=any_value(read)(body))
            except (BadBody, ExpressionError):
                continue
