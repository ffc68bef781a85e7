"""`Expression`: a CEL expression, checked against protobuf descriptors when it is made, as a plain callable.

`Language` is CEL over the descriptors of one service: the standard, the strings extension and `own_functions`.
An environment with its variables takes 140 KiB, so each expression is checked in one of its own that is thrown away,
and kept in one that all share.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cel_expr_python import cel
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from proxy.policy import own_functions
from proxy.policy.mistakes import unknown
from proxy.policy.own_functions import OwnCall

Returns = Literal["text", "texts", "flag", "plain", "message"]

_ACCEPTED: dict[Returns, tuple[str, frozenset[str]]] = {
    "text": ("a string", frozenset({"STRING", "DYN"})),
    "texts": ("a list of strings", frozenset({"LIST<STRING>", "LIST<DYN>", "DYN"})),
    "flag": ("true or false", frozenset({"BOOL", "DYN"})),
    "plain": ("a string, a number, true or false", frozenset({"STRING", "INT", "UINT", "DOUBLE", "BOOL", "DYN"})),
}
_NAMES = {
    "STRING": "a string",
    "INT": "an int",
    "UINT": "a uint",
    "BOOL": "a bool",
    "DOUBLE": "a double",
    "DYN": "anything",
}
_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)")
_NO_FIELD = re.compile(r"undefined field '(\w+)' not found in struct '([\w.]+)'")
_NO_OVERLOAD = "found no matching overload"
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_PLAIN = (str, int, float, bool)


class ExpressionError(Exception):
    """An expression that failed on a message. The text is CEL's, cut, and may name what the message holds."""


class WrongTypeError(ExpressionError):
    """An expression of a type that only a message shows gave something else than is accepted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, and where in it, from line 1 and column 1."""

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
    """A variable of an expression: a message's full name, or `int`, or `json` for a JSON object."""

    type: str

    def declared(self) -> Any:
        """As CEL declares it."""
        match self.type:
            case "int":
                return cel.Type.INT
            case "json":
                return cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
            case _:
                return cel.Type(self.type)


class Expression:
    """Called with its variables; ExpressionError, and nothing else, where it fails."""

    __slots__ = ("_constants", "_evaluate", "_own", "_type", "text")

    def __init__(
        self,
        text: str,
        checked: Any,
        returns: Returns,
        constants: Mapping[str, object],
        own: Sequence[tuple[OwnCall, "Expression"]] = (),
    ) -> None:
        """`own` are the calls of `own_functions`, each with the expression of its field."""
        self.text = text
        self._evaluate = checked.eval
        self._constants = dict(constants)
        self._type = _EXPECTED[returns]
        self._own = tuple(own)

    def __call__(self, **variables: object) -> Any:
        data = {**self._constants, **variables}
        for call, field in self._own:
            try:
                data[call.variable] = call.of(field(**variables))
            except ExpressionError:
                continue  # it may not be needed; where it is, CEL says that there is none
        try:
            value = self._evaluate(data=data)
            plain = value.plain_value()
        except (RuntimeError, TypeError, ValueError) as error:  # what the bindings raise for a budget or a wrong value
            raise ExpressionError(_cut(str(error))) from None
        if value.type() == cel.Type.ERROR:
            raise ExpressionError(_cut(str(plain)))
        if not self._type(plain):
            raise WrongTypeError(f"it gave {_given(plain)}")
        return plain


def _given(value: object) -> str:
    return "a list that does not hold strings alone" if isinstance(value, list) else f"a {type(value).__name__}"


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
    """Loaded where an expression names one of its functions: it is a library of 7 MB."""
    from cel_expr_python.ext import ext_strings  # noqa: PLC0415 -- see above

    return [ext_strings.ExtStrings()]


class Language:
    """CEL over one pool of descriptors; `constants` are names that every expression may use, whole numbers."""

    def __init__(self, pool: DescriptorPool, constants: Mapping[str, int]) -> None:
        self._pool = pool
        self._constants = dict(constants)
        self._functions = own_functions.declarations()
        self._shared: dict[bool, Any] = {}
        """Environments without variables, without and with the strings extension."""

    def compile(self, text: str, variables: Mapping[str, Variable], returns: Returns, message: str = "") -> Expression:
        """The expression; BadExpression with every fault of it. `message` is the type of a message that it returns."""
        declared = {name: variable.declared() for name, variable in variables.items()}
        declared |= dict.fromkeys(self._constants, cel.Type.INT)
        try:
            text.encode()
            strings = bool(_STRINGS.search(text))
            checked = self._environment(declared, strings=strings).compile(text)
        except UnicodeEncodeError:
            raise BadExpression(Fault(1, 1, "holds half a character; accepted: text that can be encoded")) from None
        except RuntimeError as error:
            raise BadExpression(
                *self._faults(str(error), {**declared, **({f"{message}{{…}}": 0} if message else {})})
            ) from None
        rest, calls = own_functions.apart(text, variables)
        if (left := own_functions.misplaced(rest)) is not None:
            raise BadExpression(_misplaced(text, left[1]))
        if calls:
            declared |= {call.variable: call.type for call in calls}
            checked = self._environment(declared, strings=strings).compile(rest)
        given = checked.return_type().name()
        accepted, names = (f"a {message}", {message}) if returns == "message" else _ACCEPTED[returns]
        if given not in names:
            raise BadExpression(Fault(1, 1, f"gives {_NAMES.get(given, given)}; accepted: {accepted}"))
        used = {name: value for name, value in self._constants.items() if name in text}
        if strings not in self._shared:
            self._shared[strings] = self._environment({}, strings=strings)
        own = [(call, self.compile(call.field, variables, "text")) for call in calls]
        return Expression(text, self._shared[strings].deserialize(checked.serialize()), returns, used, own)

    def _faults(self, error: str, variables: Mapping[str, Any]) -> list[Fault]:
        """CEL's errors with their places."""
        found = [
            Fault(max(1, int(line)), max(1, int(column)), _cut(self._helpful(text, variables)))
            for line, column, text in _ERROR.findall(error)
        ]
        return found or [
            Fault(
                1,
                1,
                _cut(_STATUS.sub("", error.splitlines()[0] if error else "cannot be read"))
                + "; accepted: a CEL expression",
            )
        ]

    def _helpful(self, text: str, variables: Mapping[str, Any]) -> str:
        """CEL's sentence; of an unknown name or field one that says which there are."""
        if (name := _UNDECLARED.match(text)) and name[1] not in variables:
            return f"nothing here is called {name[1]!r}; accepted: {', '.join(variables)}"
        if text.startswith("Syntax error"):
            begin = text.partition(" expecting ")[0]
            return f"{begin}; accepted: CEL, where a text has quotes: 'product/' + string(request.id)"
        if text.startswith(_NO_OVERLOAD):
            return f"{text}; accepted: values of the types that it takes: string(…) makes a string of a number"
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
    return Fault(line, column, f"{function}() is not on a field; accepted: a field's, as in request.name.{function}()")


def _cut(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first if len(first) <= 300 else f"{first[:300]}…"
