"""`Checker`: compiles the expressions of one service or event, and records each mistake with its place."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from proxy.calls.tags import Description, Plain
from proxy.policy.document import Document, Source
from proxy.policy.expressions import BadExpression, Expression, Language, Returns, Variable
from proxy.policy.failures import ExpressionError, WrongTypeError
from proxy.policy.tags import LONGEST_TAG, EmptyTagError, TooLongTagError, checked, checked_all

_LITERAL = r"(?:'[^'\\\s][^'\\]*'|\"[^\"\\\s][^\"\\]*\")"
_TERM = rf"(?:{_LITERAL}|[A-Za-z_][\w.]*(?:\([\w.]*\))?)"
_JOINED = rf"\s*{_LITERAL}(?:\s*\+\s*{_TERM})*\s*"
_NEVER_EMPTY = re.compile(rf"{_JOINED}|\s*\[{_JOINED}(?:,{_JOINED})*\]\s*")
"""An expression that begins with a string literal, or a list of such expressions; most tags are written like that."""
_HINTS = {
    "response": "the tag and everything else needed before the fetch must come from the request alone",
}
_TAKEN = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        *("message", "asctime", "ts", "level", "logger", "exception", "source", "age", "reason", "suppressed"),
    }
)
"""The attributes of a log record, which refuses extra fields of these names, and the other fields of our log lines."""


@dataclass
class Checker:
    """Compiles expressions in one `language`; mistakes go to `document`."""

    document: Document
    language: Language

    def expression(
        self, source: Source | None, what: str, variables: Mapping[str, str], returns: Returns, message: str = ""
    ) -> Expression | None:
        """The compiled expression; None if there is no source, or after a mistake, which is recorded.

        `variables` maps names to types; `message` is the type to return if `returns` is "message".
        """
        if source is None:
            return None
        kinds = {name: Variable(kind) for name, kind in variables.items()}
        try:
            return self.language.compile(source.text, kinds, returns, message)
        except BadExpression as bad:
            for fault in bad.faults:
                self.document.wrong(source.at(fault.line, fault.column), f"{what}: {fault.text}{_hint(fault.text)}")
            return None

    def never_empty(self, source: Source, what: str, evaluate: Callable[[], object]) -> None:
        """Records a mistake if the expression gives an unusable tag for the default message, as `evaluate` does."""
        if _NEVER_EMPTY.fullmatch(source.text) and len(source.text) <= LONGEST_TAG:
            return  # not evaluated: with its message's class, the first evaluation takes 20 KB that are never freed
        try:
            evaluate()
        except EmptyTagError:
            accepted = "one that is never empty, like 'name/' + …"
            self.document.wrong(source.place, f"{what}: the tag is empty if no field is set; accepted: {accepted}")
        except WrongTypeError as error:
            self.document.wrong(source.place, f"{what}: {error}; accepted: strings")
        except TooLongTagError as error:
            self.document.wrong(source.place, f"{what}: {error} if no field is set; accepted: shorter ones")
        except ExpressionError:
            return  # it may fail only because a field is not set

    def description(
        self, subject: Source | None, log: Mapping[str, Source] | None, variables: Mapping[str, str], what: str
    ) -> Callable[..., Description]:
        """A callable that gives what log lines call a message, and their fields; what fails to evaluate is left out."""
        named = self.expression(subject, f"{what}: subject", variables, "text")
        fields = self.log_fields(log, variables, what)

        def describe(**values: object) -> Description:
            try:
                text = named(**values) if named is not None else ""
            except ExpressionError:
                text = ""
            return Description(text, fields(**values))

        return describe

    def log_fields(
        self, log: Mapping[str, Source] | None, variables: Mapping[str, str], what: str
    ) -> Callable[..., Mapping[str, Plain]]:
        """A callable that gives the fields of a log line; what fails to evaluate is left out."""
        for name, source in (log or {}).items():
            if name in _TAKEN:
                accepted = "other names, like product_name"
                self.document.wrong(
                    source.place, f"{what}: log: {name}: log lines have it already; accepted: {accepted}"
                )
        compiled = {
            name: self.expression(source, f"{what}: log: {name}", variables, "plain")
            for name, source in (log or {}).items()
        }
        present = {name: expression for name, expression in compiled.items() if expression is not None}

        def fields(**values: object) -> Mapping[str, Plain]:
            found: dict[str, Plain] = {}
            for name, expression in present.items():
                try:
                    found[name] = expression(**values)
                except ExpressionError:
                    continue
            return found

        return fields


def _hint(text: str) -> str:
    return next((f" ({hint})" for name, hint in _HINTS.items() if f"is called {name!r}" in text), "")


def one_tag(expression: Expression, variable: str = "request") -> Callable[[Any], str]:
    """A callable that gives the one tag of a message, or raises ExpressionError."""
    return lambda value: checked(expression(**{variable: value}))


def tags(expression: Expression, variable: str = "request") -> Callable[[Any], tuple[str, ...]]:
    """A callable that gives the tags of a message, or raises ExpressionError."""
    return lambda value: checked_all(expression(**{variable: value}))


def answer_tags(expression: Expression | None) -> Callable[[Message, Message], tuple[str, ...]] | None:
    """A callable that gives the tags of a request and its answer, or raises ExpressionError."""
    if expression is None:
        return None
    return lambda request, response: checked_all(expression(request=request, response=response))


def name_of(descriptor: Descriptor) -> str:
    """A message type's full name."""
    name: str = descriptor.full_name
    return name
