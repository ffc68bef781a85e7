"""proxy.policy.expressions: CEL, checked when it is made, bounded when it runs."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from proxy.policy.descriptors import Descriptors
from proxy.policy.expressions import BadExpression, Expression, Language, Returns, Variable
from proxy.policy.failures import ExpressionError
from tests.policy import CONSTANTS, PRODUCT

DESCRIPTORS = Descriptors.of(PRODUCT)
LANGUAGE = Language(DESCRIPTORS.pool, CONSTANTS)
PRODUCT_TYPE = DESCRIPTORS.message("product.Product")
VARIABLES = {"request": Variable("product.Product"), "event": Variable("json")}


def made(text: str, returns: Returns = "text", message: str = "") -> Expression:
    return LANGUAGE.compile(text, VARIABLES, returns, message)


@pytest.mark.parametrize(
    ("text", "returns", "value"),
    [
        ("'product/' + string(request.id)", "text", "product/9223372036854775807"),
        ("[request.slug.lowerAscii(), 'products']", "texts", ["straße", "products"]),
        ("request.slug.casefold()", "text", "strasse"),
        ("request.id > CACHE_BYPASS_PER_PAGE", "flag", True),
        ("CACHE_BYPASS_PER_PAGE", "plain", 100),
        ("[]", "texts", []),
        ("string(event.id)", "text", "7"),
        ("event.name", "text", "n"),
    ],
)
def test_an_expression_is_a_callable(text: str, returns: Returns, value: object) -> None:
    message = PRODUCT_TYPE(id=2**63 - 1, slug="STRAßE" if "casefold" in text else "Straße")
    assert made(text, returns)(request=message, event={"id": 7, "name": "n"}) == value


def test_it_makes_messages() -> None:
    made_message = made("product.GetProductByIDRequest{id: request.id}", "message", "product.GetProductByIDRequest")
    assert made_message(request=PRODUCT_TYPE(id=7)).SerializeToString() == b"\x08\x07"


@pytest.mark.parametrize(
    ("text", "returns", "line", "column", "told"),
    [
        (
            "request.slog",
            "text",
            1,
            8,
            "product.Product: unknown field 'slog'; did you mean 'slug'? accepted: id, slug,",
        ),
        ("\n  request.slog", "text", 2, 10, "product.Product: unknown field"),
        ("'é' + request.slog", "text", 1, 14, "product.Product: unknown field"),
        ("response.id", "text", 1, 9, "no variable is called 'response'; accepted: request, event"),
        (
            "google.protobuf.Int64Value{value: 1}.value > 0",
            "flag",
            1,
            37,
            "expression of type 'wrapper(int)' cannot",
        ),
        ("nope(1)", "text", 1, 5, "no variable is called 'nope'"),
        ("request.slug +", "text", 1, 15, "Syntax error: mismatched input"),
        ("'a' + request.id", "text", 1, 5, "found no matching overload for '_+_' applied to '(string, int)'"),
        ("request.id", "text", 1, 1, "gives an int; accepted: a string"),
        ("request.slug", "texts", 1, 1, "gives a string; accepted: a list of strings"),
        ("request.slug", "flag", 1, 1, "gives a string; accepted: true or false"),
        ("request", "plain", 1, 1, "gives product.Product; accepted: a string, a number, true or false"),
        ("request", "message", 1, 1, "gives product.Product; accepted: a product.Nope"),
        ("'\ud800'", "text", 1, 1, "contains half of a surrogate pair"),
        ("(" * 400 + "1" + ")" * 400, "text", 1, 1, "Expression recursion limit exceeded. limit: 32"),
        ("1" + "+1" * 3000, "text", 1, 1, "Exceeded max recursion depth of 32 when parsing."),
        ("'" + "x" * 200_000 + "'", "text", 1, 1, "expression size exceeds codepoint limit"),
        ("\x00", "text", 1, 1, "Syntax error: token recognition error"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, returns: Returns, line: int, column: int, told: str) -> None:
    with pytest.raises(BadExpression) as failed:
        made(text, returns, "product.Nope" if returns == "message" else "")
    fault = failed.value.faults[0]
    assert (fault.line, fault.column) == (line, column)
    assert fault.text.startswith(told)


def test_every_fault_of_an_expression_is_told() -> None:
    with pytest.raises(BadExpression) as failed:
        made("request.slog + request.nome")
    assert [fault.column for fault in failed.value.faults] == [8, 23]


@pytest.mark.parametrize(
    ("text", "returns", "event"),
    [
        ("string(event.id)", "text", {}),
        ("event.id", "text", {"id": 5}),
        ("event.ids", "texts", {"ids": ["a", 1]}),
        ("event.on", "flag", {"on": "yes"}),
        ("string(1 / event.id)", "text", {"id": 0}),
        ("event.id", "text", {"id": "\ud800"}),
        ("event.id", "text", {"id": object()}),
        ("event.id + 1 == 0 ? '' : ''", "text", {"id": 2**63 - 1}),
    ],
)
def test_one_that_fails_on_a_message_raises_one_error(text: str, returns: Returns, event: dict[str, object]) -> None:
    with pytest.raises(ExpressionError):
        made(text, returns)(event=event, request=PRODUCT_TYPE())


def test_a_text_with_a_nul_is_not_taken_for_its_beginning() -> None:
    message = PRODUCT_TYPE(slug="A\0b")
    assert made("'x/' + request.slug + '/y'")(request=message, event={}) == "x/A\0b/y"
    assert made("request.slug.casefold() + '/y'")(request=message, event={}) == "a\ufffdb/y"


def test_evaluation_is_bounded() -> None:
    ten = "[1,2,3,4,5,6,7,8,9,10]"
    text = "'x'"
    for name in "abcdefg":
        text = (
            f"{ten}.exists({name}, {text} == '') ? '' : 'x'"
            if text == "'x'"
            else f"{ten}.all({name}, ({text}) == 'x') ? 'x' : ''"
        )
    started = time.process_time()
    with pytest.raises(ExpressionError, match="Iteration budget exceeded"):
        made(text)(request=PRODUCT_TYPE())
    assert time.process_time() - started < 5


def test_a_hundred_expressions_share_one_environment() -> None:
    # An environment with variables takes 140 KiB: one for each of the 200 methods of a policy would take 28 MiB.
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 -- the kernel's, not a real file
            return int(file.read().split()[1]) * 4

    kept = [made("'product/' + string(request.id)") for _ in range(20)]
    before = resident()
    kept += [made("'product/' + string(request.id)") for _ in range(200)]
    assert resident() - before < 8 << 10
    assert kept[-1](request=PRODUCT_TYPE(id=1)) == "product/1"


COMMON = Language(DESCRIPTORS.pool, CONSTANTS, [("request", "product.Product"), ("event", "json")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'request.id ' + string(request.id)", "request.id 7"),
        ('"it\'s request " + string(request.id)', "it's request 7"),
        ("event.request + event . request + event['request']", "rrr"),
        ("[1, 2].map(request, string(request))[1] + string(request.id)", "27"),
        ("{'request': request.slug}.request", "S"),
        (r"'\'request ' + string(request.id)", "'request 7"),
        ("'a' // request\n + string(request.id)", "a7"),
        ("'''it's a request ''' + string(request.id)", "it's a request 7"),
        ("product.Product{slug: request.slug}.slug", "S"),
        ("string(CACHE_BYPASS_PER_PAGE) + request.slug.casefold()", "100s"),
        ("event.`request` + ''", "r"),
        ("has(event.request) ? request.slug : ''", "S"),
    ],
)
def test_where_all_are_checked_together_each_means_what_it_means_alone(text: str, value: str) -> None:
    for language in (LANGUAGE, COMMON):
        variables = {"request": Variable("product.Product"), "event": Variable("json")}
        expression = language.compile(text, variables, "text")
        assert expression(request=PRODUCT_TYPE(id=7, slug="S"), event={"request": "r"}) == value


@pytest.mark.parametrize(
    "text", ["'request' + request.idd", "request.id", "requests.id", "request.", "'a'.casefold() + 'x'"]
)
def test_what_is_wrong_is_told_as_of_the_text_alone(text: str) -> None:
    told = []
    for language in (LANGUAGE, COMMON):
        with pytest.raises(BadExpression) as refused:
            language.compile(text, {"request": Variable("product.Product")}, "text")
        told.append(refused.value.faults)
    assert told[0] == told[1]


def test_a_hundred_expressions_take_two_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    language, made = Language(DESCRIPTORS.pool, CONSTANTS, [("request", "product.Product")]), []
    new = language._environment

    def counted(variables: Mapping[str, Any], *, strings: bool) -> Any:
        made.append(variables)
        return new(variables, strings=strings)

    monkeypatch.setattr(language, "_environment", counted)
    for number in range(100):
        language.compile(f"'{number}/' + request.slug.casefold()", {"request": Variable("product.Product")}, "text")
    assert len(made) == 2
