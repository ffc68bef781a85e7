"""The proxy's own functions in expressions, such as `request.name.casefold()`. CEL checks them; Python calls them.

CEL's bindings (cel-expr-python 0.1.3) never free what they pass to a function in Python and what it returns: a few
hundred bytes at each evaluation (measured). So an expression is checked with these functions declared, but Python calls
them before the evaluation, in which a variable holds each result. That is why such a function can only be called on a
field, not on the result of another CEL expression.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel

from proxy.policy.spellings import is_plain
from proxy.policy.texts import casefolded, foldings

OWN_FUNCTIONS = {
    "text.casefold()": "the text in a form for case-insensitive comparison, in any script",
    "text.foldings()": "every form that databases may compare by, depending on their locale; usually one",
    "text.isPlain()": "whether all of them use the same form",
}


_TEXT = cel.Type.STRING
_GIVEN: dict[str, tuple[Any, Callable[[str], object]]] = {
    "casefold": (_TEXT, casefolded),
    "foldings": (cel.Type.List(_TEXT), foldings),
    "isPlain": (cel.Type.BOOL, is_plain),
}
_NAMES = "|".join(_GIVEN)
_LITERAL = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_CALL = re.compile(rf"({_LITERAL})|(?<![\w.])((?:[A-Za-z_]\w*)(?:\s*\.\s*[A-Za-z_]\w*)*)\s*\.\s*({_NAMES})\s*\(\s*\)")
_LEFT = re.compile(rf"{_LITERAL}|\.\s*({_NAMES})\s*\(")


@dataclass(frozen=True, slots=True)
class OwnCall:
    """One call of a function on `field`; in the expression, a variable replaces it."""

    field: str
    """The CEL path that the function is called on, such as `request.name`."""
    function: str
    number: int
    """Counts the calls of this function in the expression, from 0."""

    @property
    def variable(self) -> str:
        """The name of the variable that holds the result."""
        return f"own_{self.function}_{self.number}_"

    def of(self, text: str) -> object:
        """The function's result for a text."""
        return _GIVEN[self.function][1](text)

    @property
    def type(self) -> Any:
        """The type of the result, as CEL's bindings declare it."""
        return _GIVEN[self.function][0]


def declarations() -> list[Any]:
    """The functions as CEL's bindings declare them, for checking expressions."""
    return [
        cel.FunctionDecl(name, [cel.Overload(f"string_{name}", returns, [_TEXT], is_member=True, impl=implementation)])
        for name, (returns, implementation) in _GIVEN.items()
    ]


def apart(text: str, variables: Collection[str]) -> tuple[str, list[OwnCall]]:
    """The expression with each call replaced by its variable, and the calls. Only fields of `variables` count."""
    calls: dict[tuple[str, str], OwnCall] = {}

    def variable(found: "re.Match[str]") -> str:
        literal, field, function = found.groups()
        if literal is not None or field.split(".")[0].strip() not in variables:
            return found[0]
        if (field, function) not in calls:
            number = sum(other == function for _, other in calls)
            calls[field, function] = OwnCall(field, function, number)
        return calls[field, function].variable

    return _CALL.sub(variable, text), list(calls.values())


def every_call(most: int) -> Iterator[OwnCall]:
    """All calls that an expression with at most `most` calls of each function can have, to declare their variables."""
    for function in _GIVEN:
        yield from (OwnCall("", function, number) for number in range(most))


def misplaced(text: str) -> tuple[int, str] | None:
    """The first remaining call, which is not called on a field: its position and function; None if no call remains."""
    found = next((each for each in _LEFT.finditer(text) if each[1] is not None), None)
    return None if found is None else (found.start(1), found[1])
