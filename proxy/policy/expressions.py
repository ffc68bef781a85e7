"""`Expression`: a CEL expression as a plain callable, checked against protobuf descriptors when it is made.

`Language` is CEL over the descriptors of one service: the standard, the strings extension and `own_functions`.
An environment with variables takes 1.5 ms and 140 KiB. So all expressions of a service are checked in one, in which
each variable has a name for every type that it may have, and kept in another one without variables. An expression is
checked in an environment of its own only if it has a mistake, so that CEL's message fits the text, or if its variables
cannot safely be renamed.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from cel_expr_python import cel
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from proxy.policy import own_functions
from proxy.policy.failures import ExpressionError, WrongTypeError
from proxy.policy.hints import hint
from proxy.policy.mistakes import unknown
from proxy.policy.own_functions import OwnCall

Returns = Literal["text", "texts", "flag", "plain", "message"]

_ACCEPTED: dict[Returns, tuple[str, frozenset[str]]] = {
    "text": ("a string", frozenset({"STRING", "DYN"})),
    "texts": ("a list of strings", frozenset({"LIST<STRING>", "LIST<DYN>", "DYN"})),
    "flag": ("true or false", frozenset({"BOOL", "DYN"})),
    "plain": ("a string, a number, true or false", frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN"})),
}
_NAMES = {"STRING": "a string", "INT": "an int", "UINT": "a uint", "BOOL": "a bool", "DOUBLE": "a double"}
_NAMES["DYN"] = "anything"
_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)")
_NO_FIELD = re.compile(r"undefined field '(\w+)' not found in struct '([\w.]+)'")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_PLAIN = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, and where; line and column of its text count from 1."""

    line: int
    column: int
    text: str


class BadExpression(Exception):  # noqa: N818 -- it is told to a person, not raised to a caller
    """An expression that cannot be used."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's type: a message's full name, or `int`, or `json` for a JSON object."""

    type: str

    def declared(self) -> Any:
        """The type as CEL's bindings declare it."""
        match self.type:
            case "int":
                return cel.Type.INT
            case "json":
                return cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
            case _:
                return cel.Type(self.type)


class Expression:
    """A compiled expression. A call with its variables gives its value, or raises ExpressionError and nothing else."""

    __slots__ = ("_constants", "_evaluate", "_names", "_own", "_type", "text")

    def __init__(
        self,
        text: str,
        checked: Any,
        returns: Returns,
        constants: Mapping[str, object],
        own: Sequence[tuple[OwnCall, "Expression"]] = (),
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`own` are the calls of `own_functions`, each with the expression of its field; `names` maps variables to
        their names in the environment that checked it.
        """
        self.text = text
        self._evaluate = checked.eval
        self._constants = dict(constants)
        self._type = _EXPECTED[returns]
        self._own = tuple(own)
        self._names = dict(names)

    def __call__(self, **variables: object) -> Any:
        data = dict(self._constants)
        for name, value in variables.items():
            data[self._names.get(name, name)] = value
        for call, field in self._own:
            try:
                data[call.variable] = call.of(field(**variables))
            except ExpressionError:
                continue  # it may not be needed; if it is, CEL reports that the variable has no value
        try:
            value = self._evaluate(data=data)
            plain = value.plain_value()
        except (RuntimeError, TypeError, ValueError) as error:  # the bindings, for a budget or a wrong value
            raise ExpressionError(_cut(str(error))) from None
        if value.type() == cel.Type.ERROR:
            raise ExpressionError(_cut(str(plain)))
        if not self._type(plain):
            raise WrongTypeError(f"it gave {_given(plain)}")
        return plain


def _given(value: object) -> str:
    if isinstance(value, list):
        return "a list with items that are not strings"
    kind = type(value).__name__
    return f"{'an' if kind == 'int' else 'a'} {kind}"


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_EXPECTED: dict[Returns, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "texts": _texts,
    "flag": lambda value: isinstance(value, bool),
    "plain": lambda value: isinstance(value, _PLAIN),
    "message": lambda value: isinstance(value, Message),
}


_STRINGS = re.compile(
    r"\b(charAt|format|indexOf|join|lastIndexOf|lowerAscii|quote|replace|reverse|split|substring|trim|upperAscii)\b"
)


def _strings_extension() -> list[Any]:
    """The strings extension. It is a library of 7 MB, loaded only if an expression names one of its functions."""
    from cel_expr_python.ext import ext_strings  # noqa: PLC0415 -- see above

    return [ext_strings.ExtStrings()]


Declared = tuple[str, str]
"""A variable's name and type."""
_OWN_CALLS = 4
"""The calls of each own function that the common environment declares; an expression with more is checked alone."""
_PLAIN_LITERAL = r"'[^']*'|\"[^\"]*\""
_NOT_PLAIN = re.compile(r"[\\`]|//|\'\'\'|\"\"\"")
"""Marks texts in which only CEL itself can tell where a literal or a comment ends."""


class Language:
    """CEL over one pool of descriptors; `constants` are whole numbers that every expression may name."""

    def __init__(self, pool: DescriptorPool, constants: Mapping[str, int], expected: Iterable[Declared] = ()) -> None:
        """`expected` are the variables, with their types, that expressions are going to have."""
        self._pool = pool
        self._constants = dict(constants)
        self._functions = own_functions.declarations()
        self._names = {each: f"{each[0]}_{number}_" for number, each in enumerate(dict.fromkeys(expected))}
        """The name of each variable in the common environment."""
        self._common: dict[bool, Any] = {}
        self._shared: dict[bool, Any] = {}
        """The environments with all variables (common) and without any (shared), by whether they have strings."""

    def compile(self, text: str, variables: Mapping[str, Variable], returns: Returns, message: str = "") -> Expression:
        """The expression; raises BadExpression with all its faults. `message` is the type that "message" returns."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadExpression(
                Fault(1, 1, "contains half of a surrogate pair; accepted: text that can be encoded")
            ) from None
        strings = bool(_STRINGS.search(text))
        rest, calls = own_functions.apart(text, variables)
        names = self._renamed(rest, variables, calls)
        both = dict.fromkeys((text, rest))
        checked = self._checked_in_common(both, names, strings=strings) if names is not None else None
        if checked is None:
            names = {}
            checked = self._checked_alone(text, rest, variables, calls, message, strings=strings)
        given = checked.return_type().name()
        accepted, known = (f"a {message}", {message}) if returns == "message" else _ACCEPTED[returns]
        if given not in known:
            raise BadExpression(Fault(1, 1, f"gives {_NAMES.get(given, given)}; accepted: {accepted}"))
        used = {name: value for name, value in self._constants.items() if name in text}
        if strings not in self._shared:
            self._shared[strings] = self._environment({}, strings=strings)
        own = [(call, self.compile(call.field, variables, "text")) for call in calls]
        kept = self._shared[strings].deserialize(checked.serialize())
        return Expression(text, kept, returns, used, own, names or {})

    def _renamed(self, text: str, variables: Mapping[str, Variable], calls: Sequence[OwnCall]) -> dict[str, str] | None:
        """The variables' names in the common environment; None if this text cannot be checked there."""
        found = {name: self._names.get((name, kind.type)) for name, kind in variables.items()}
        many = any(call.number >= _OWN_CALLS for call in calls)
        if None in found.values() or many or _NOT_PLAIN.search(text) or own_functions.misplaced(text) is not None:
            return None
        return {name: other for name, other in found.items() if other is not None}

    def _checked_in_common(self, texts: Iterable[str], names: Mapping[str, str], *, strings: bool) -> Any:
        """The last of these texts, checked; None if any of them has a mistake."""
        if strings not in self._common:
            declared = {name: Variable(type_).declared() for (_, type_), name in self._names.items()}
            declared |= {call.variable: call.type for call in own_functions.every_call(_OWN_CALLS)}
            self._common[strings] = self._environment(declared | self._declared_constants(), strings=strings)
        own = re.compile(rf"{_PLAIN_LITERAL}|\.\s*\w+|\b({'|'.join(names)})\b")
        try:
            return [
                self._common[strings].compile(own.sub(lambda found: names.get(found[1], found[0]), text))
                for text in texts
            ][-1]
        except RuntimeError:
            return None

    def _checked_alone(
        self,
        text: str,
        rest: str,
        variables: Mapping[str, Variable],
        calls: Sequence[OwnCall],
        message: str,
        *,
        strings: bool,
    ) -> Any:
        """The expression, checked with its variables' own names; raises BadExpression."""
        declared = {name: variable.declared() for name, variable in variables.items()} | self._declared_constants()
        try:
            checked = self._environment(declared, strings=strings).compile(text)
        except RuntimeError as error:
            made = {f"{message}{{…}}": 0} if message else {}
            raise BadExpression(*self._faults(str(error), declared | made)) from None
        if (left := own_functions.misplaced(rest)) is not None:
            raise BadExpression(_misplaced(text, left[1]))
        if calls:
            declared |= {call.variable: call.type for call in calls}
            checked = self._environment(declared, strings=strings).compile(rest)
        return checked

    def _declared_constants(self) -> dict[str, Any]:
        return dict.fromkeys(self._constants, cel.Type.INT)

    def _faults(self, error: str, variables: Mapping[str, Any]) -> list[Fault]:
        """CEL's errors with their places."""
        found = [
            Fault(max(1, int(line)), max(1, int(column)), _cut(self._helpful(text, variables)))
            for line, column, text in _ERROR.findall(error)
        ]
        first = _STATUS.sub("", error.splitlines()[0] if error else "cannot be read")
        return found or [Fault(1, 1, f"{_cut(first)}; accepted: a CEL expression")]

    def _helpful(self, text: str, variables: Mapping[str, Any]) -> str:
        """CEL's message with what is accepted; for an unknown name or field, one that lists the known ones."""
        if (name := _UNDECLARED.match(text)) and name[1] not in variables:
            return f"no variable is called {name[1]!r}; accepted: {', '.join(variables)}"
        if text.startswith("Syntax error"):
            begin = text.partition(" expecting ")[0]
            return f"{begin}; accepted: CEL, with texts in quotes, like 'product/' + string(request.id)"
        if accepted := hint(text):
            return f"{text}; accepted: {accepted}"
        if not (name := _NO_FIELD.match(text)):
            return f"{text}; accepted: a CEL expression"
        try:
            fields = self._pool.FindMessageTypeByName(name[2]).fields
        except KeyError:
            return f"{text}; accepted: a field that there is"
        return f"{name[2]}: {unknown('field', name[1], [field.name for field in fields])}"

    def _environment(self, variables: Mapping[str, Any], *, strings: bool) -> Any:
        return cel.NewEnv(
            self._pool,
            variables=dict(variables),
            extensions=_strings_extension() if strings else [],
            functions=self._functions,
        )


def _misplaced(text: str, function: str) -> Fault:
    at = re.search(rf"\.\s*{function}\s*\(", text)
    before = text[: at.start() + 1] if at is not None else ""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    told = f"{function}() is not called on a field; accepted: a call on one, as in request.name.{function}()"
    return Fault(line, column, told)


def _cut(text: str) -> str:
    return first if len(first := text.split("\n", 1)[0]) <= 300 else f"{first[:300]}…"
