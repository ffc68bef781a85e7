"""Policy files and expressions: a policy or its mistakes; of any message a value or one error."""

import json
from typing import Any

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.bodies import BadBody, any_value, envelope_body, json_body
from proxy.policy.compiling import builtin_policy, builtin_text
from proxy.policy.descriptors import BadDescriptors, Descriptors
from proxy.policy.expressions import BadExpression, Language, Variable
from proxy.policy.failures import ExpressionError
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


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> bytes:
    """A message of random fields, or bytes that are none."""
    made = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(st.booleans()) and not field.is_repeated and field.message_type is None:
            values: st.SearchStrategy[Any] = {1: st.integers(-(2**31), 2**31 - 1), 2: int64s, 7: st.booleans()}.get(
                field.cpp_type,
                st.binary(max_size=600)
                if field.type == 12
                else st.text(st.characters(exclude_categories=["Cs"]), max_size=600),
            )
            setattr(made, field.name, draw(values))
    return draw(st.just(made.SerializeToString()) | damaged(made.SerializeToString()))


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
