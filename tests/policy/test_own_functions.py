"""proxy.policy.own_functions: their results, where they may be called, and that an evaluation leaks nothing."""

import gc
import sys

import pytest

from proxy.policy.expressions import BadExpression
from proxy.policy.own_functions import apart, every_call
from tests.policy.test_expressions import PRODUCT_TYPE, made

_MANY = 2_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[request.slug.casefold(), request.slug.casefold()]", ["strasse", "strasse"]),
        ("request.slug.foldings().map(each, 'p/' + each)", ["p/strasse", "p/straße"]),
        ("[string(request.slug.isPlain())]", ["false"]),
        ("event.name == '' ? ['none'] : event.name.foldings()", ["n"]),
        ("['a.casefold()', request.slug.casefold()]", ["a.casefold()", "strasse"]),
    ],
)
def test_what_they_make_of_a_field(text: str, value: list[str]) -> None:
    assert sorted(made(text, "texts")(request=PRODUCT_TYPE(slug="Straße"), event={"name": "N"})) == sorted(value)


def test_what_is_not_needed_may_be_missing() -> None:
    expression = made("has(event.name) ? event.name.casefold() : 'none'")
    assert expression(request=PRODUCT_TYPE(), event={}) == "none"
    assert expression(request=PRODUCT_TYPE(), event={"name": "N"}) == "n"


@pytest.mark.parametrize("text", ["('a' + request.slug).casefold()", "['A'].map(each, each.casefold())[0]"])
def test_on_anything_but_a_field_they_are_refused_with_their_place(text: str) -> None:
    with pytest.raises(BadExpression) as refused:
        made(text)
    (fault,) = refused.value.faults
    assert (fault.line, fault.column) == (1, text.index("casefold") + 1)
    assert fault.text == "casefold() is not called on a field; accepted: a call on one, as in request.name.casefold()"


def test_calls_are_taken_apart_once_each() -> None:
    rest, calls = apart("request.a.casefold() + request.a.casefold() + request.a.isPlain()", {"request"})
    assert rest == "own_casefold_0_ + own_casefold_0_ + own_isPlain_0_"
    assert [(call.field, call.function) for call in calls] == [("request.a", "casefold"), ("request.a", "isPlain")]


@pytest.mark.parametrize("function", ["casefold()", "foldings()[0]"])
def test_nothing_is_left_of_an_evaluation(function: str) -> None:
    """CEL's bindings leak when they call Python: at least two blocks each time."""
    expression = made(f"request.slug.{function}")

    def evaluated(times: int) -> int:
        for number in range(times):
            expression(request=PRODUCT_TYPE(slug=f"slug {number % 7}"), event={})
        gc.collect()
        return sys.getallocatedblocks()

    before = evaluated(_MANY)
    assert evaluated(_MANY) - before < _MANY / 4


def test_all_that_may_stand_in_an_expression_are_declared_by_their_names() -> None:
    _, calls = apart("request.a.casefold() + request.b.casefold() + request.a.foldings()[0]", {"request"})
    declared = {call.variable: call.type for call in every_call(2)}
    assert {call.variable for call in calls} < declared.keys()
