"""`Checker`: compiles the expressions of one service or event, and notes what is wrong with them at their places."""

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
"""A text that begins with a literal, or a list of such texts, as tags are mostly written."""
_HINTS = {
    "response": "the tag and what else is asked before the fetch must come from the request alone",
}
_TAKEN = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        *("message", "asctime", "ts", "level", "logger", "exception", "source", "age", "reason", "suppressed"),
    }
)
"""What a log record has itself (it refuses others of these names), and what our lines say besides."""


@dataclass
class Checker:
    """Expressions over one pool of descriptors."""

    document: Document
    language: Language

    def expression(
        self, source: Source | None, what: str, variables: Mapping[str, str], returns: Returns, message: str = ""
    ) -> Expression | None:
        """The expression; None where none is given or it is wrong, which is noted. `variables`: names to types."""
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
        """Notes an expression that gives an empty tag or none at all, as the default message shows."""
        if _NEVER_EMPTY.fullmatch(source.text) and len(source.text) <= LONGEST_TAG:
            return  # the first evaluation of an expression takes 20 KB for good, with its message's class
        try:
            evaluate()
        except EmptyTagError:
            accepted = "one that never is, like 'name/' + …"
            self.document.wrong(source.place, f"{what}: the tag is empty where no field is set; accepted: {accepted}")
        except WrongTypeError as error:
            self.document.wrong(source.place, f"{what}: {error}; accepted: strings")
        except TooLongTagError as error:
            self.document.wrong(source.place, f"{what}: {error} where no field is set; accepted: shorter ones")
        except ExpressionError:
            return  # a field that is not set may well be what it fails on

    def description(
        self, subject: Source | None, log: Mapping[str, Source] | None, variables: Mapping[str, str], what: str
    ) -> Callable[..., Description]:
        """What log lines call a message, and its fields in them; of an expression that fails, nothing."""
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
        """The fields of a log line."""
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
    """A callable that gives one tag of a message."""
    return lambda value: checked(expression(**{variable: value}))


def tags(expression: Expression, variable: str = "request") -> Callable[[Any], tuple[str, ...]]:
    """A callable that gives the tags of a message."""
    return lambda value: checked_all(expression(**{variable: value}))


def answer_tags(expression: Expression | None) -> Callable[[Message, Message], tuple[str, ...]] | None:
    """A callable that gives the tags of a request and its answer."""
    if expression is None:
        return None
    return lambda request, response: checked_all(expression(request=request, response=response))


def name_of(descriptor: Descriptor) -> str:
    """A message type's full name."""
    name: str = descriptor.full_name
    return name
