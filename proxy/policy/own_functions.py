"""Functions of ours in expressions, as `request.name.casefold()`: CEL checks them, Python calls them before it.

CEL's bindings (cel-expr-python 0.1.3) keep for good what they hand to a function in Python and what it answers: a few
hundred bytes at each evaluation (measured). So an expression is checked with these functions declared, and evaluated
with each call of one in a variable. For that it must be called on a field, not on something that CEL first works out.
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
    """One call: its variable stands in the expression for what the function makes of `field`."""

    field: str
    function: str
    number: int
    """Among the calls of this function in the expression."""

    @property
    def variable(self) -> str:
        """Its name in the expression."""
        return f"own_{self.function}_{self.number}_"

    def of(self, text: str) -> object:
        """What the function makes of a text."""
        return _GIVEN[self.function][1](text)

    @property
    def type(self) -> Any:
        """Of the variable, as CEL declares it."""
        return _GIVEN[self.function][0]


def declarations() -> list[Any]:
    """For checking."""
    return [
        cel.FunctionDecl(name, [cel.Overload(f"string_{name}", returns, [_TEXT], is_member=True, impl=implementation)])
        for name, (returns, implementation) in _GIVEN.items()
    ]


def apart(text: str, variables: Collection[str]) -> tuple[str, list[OwnCall]]:
    """The expression with variables in the place of its calls, and the calls."""
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
    """What may stand in an expression with `most` calls of each function; for declaring them all."""
    for function in _GIVEN:
        yield from (OwnCall("", function, number) for number in range(most))


def misplaced(text: str) -> tuple[int, str] | None:
    """Where a call is left that is not on a field, and of which function; None: none is."""
    found = next((each for each in _LEFT.finditer(text) if each[1] is not None), None)
    return None if found is None else (found.start(1), found[1])
