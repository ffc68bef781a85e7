"""The *kinds* of value that a key of a policy may have: each reads a node and says in one line what is accepted.

A form is a dataclass whose fields are made with `key`: name, kind and help are declared once, and the reader, the
messages and the reference in docs/policies.md are made from that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

import yaml

from proxy.policy.document import Document, Node, Source
from proxy.policy.mistakes import Place, not_understood
from proxy.settings.setting_types import SettingType

F = TypeVar("F", bound="Form")


def key(kind: "Kind", text: str, *, required: bool = False) -> Any:
    """Declares one key of a form: the kind of its value, and its help."""
    return field(default=None, metadata={"kind": kind, "help": text, "required": required})


@dataclass
class Form:
    """What one mapping of the file holds."""

    place: Place
    places: dict[str, Place] = field(default_factory=dict)
    """The place of each key that was given."""

    def at_key(self, name: str) -> Place:
        """The place of a key, or of the form if the key was not given."""
        return self.places.get(name, self.place)


class Kind:
    """Reads one node, and says what it accepts."""

    accepted: str
    """What is accepted, in one line, for messages and the reference."""

    def read(self, document: Document, node: Node, what: str) -> Any:
        """The value; None after a mistake, which is recorded in the document. `what` names the value in it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Kind):
    """A text that matches `pattern` as a whole, read as a `Source`."""

    accepted: str = "a text"
    pattern: str = r"(?s).+"

    def read(self, document: Document, node: Node, what: str) -> Source | None:
        return document.word(node, what, re.compile(self.pattern), self.accepted)


EXPRESSION = Text("a CEL expression")


@dataclass(frozen=True)
class Value(Kind):
    """A value of a setting's type."""

    type: SettingType

    @property
    def accepted(self) -> str:  # type: ignore[override]  # the setting's own words
        return self.type.accepted

    def read(self, document: Document, node: Node, what: str) -> Any:
        source = document.text(node, what, self.accepted)
        if source is None:
            return None
        try:
            return self.type.parse(source.text.strip())
        except ValueError:
            document.wrong(source.place, not_understood(what, self.type.shown(source.text), self.accepted))
            return None


@dataclass(frozen=True)
class Words(Value):
    """The words of a setting that takes several, in one text or as a list; either may be empty."""

    @property
    def accepted(self) -> str:  # type: ignore[override]  # the setting's own words
        return f"{self.type.accepted}; or a list of them"

    def read(self, document: Document, node: Node, what: str) -> Any:
        if isinstance(node, yaml.ScalarNode) and not node.value:
            return self.type.parse("")
        if not isinstance(node, yaml.SequenceNode):
            return super().read(document, node, what)
        found = [super(Words, self).read(document, each, what) for each in node.value]
        return tuple(word for words in found if words is not None for word in words)


class Flag(Kind):
    """`true` or `false`."""

    accepted = "true, false"

    def read(self, document: Document, node: Node, what: str) -> bool:
        return document.flag(node, what)


@dataclass(frozen=True)
class Several(Kind):
    """A list, read as a tuple of what `each` reads; a single item may be given without the list."""

    each: Kind

    @property
    def accepted(self) -> str:  # type: ignore[override]  # the kind's own words
        return f"a list; each: {self.each.accepted}"

    def read(self, document: Document, node: Node, what: str) -> tuple[Any, ...]:
        nodes = [node] if isinstance(node, yaml.ScalarNode) and node.value else list(document.items(node, what))
        read = (self.each.read(document, item, what) for item in nodes)
        return tuple(value for value in read if value is not None)


@dataclass(frozen=True)
class Named(Kind):
    """A mapping whose names the policy's author chooses, to what `each` reads."""

    each: Kind
    accepted_names: str = "letters, digits and underscores"
    pattern: str = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

    @property
    def accepted(self) -> str:  # type: ignore[override]  # the kind's own words
        return f"names ({self.accepted_names}), each with {self.each.accepted}"

    def read(self, document: Document, node: Node, what: str) -> dict[str, Any]:
        found = {}
        for name, (place, value) in document.mapping(node, what, None).items():
            if not re.fullmatch(self.pattern, name):
                document.wrong(place, not_understood(what, name, self.accepted_names))
            elif (read := self.each.read(document, value, f"{what}: {name}")) is not None:
                found[name] = read
        return found


@dataclass(frozen=True)
class Inner(Kind, Generic[F]):
    """A form within a form."""

    form: type[F]
    accepted: str = "keys with values"

    def read(self, document: Document, node: Node, what: str) -> F:
        return read_form(document, node, self.form, what)


@dataclass(frozen=True)
class Forms(Kind, Generic[F]):
    """A list of forms."""

    form: type[F]
    accepted: str = "a list"

    def read(self, document: Document, node: Node, what: str) -> tuple[F, ...]:
        singular = what.rpartition(" ")[2].removesuffix("s")
        return tuple(read_form(document, item, self.form, singular) for item in document.items(node, what))


def keys_of(form: "type[Form]") -> Iterator[tuple[str, Kind, str, bool]]:
    """The keys of a form: name, kind, help, and whether it is required."""
    for each in fields(form):
        if "kind" in each.metadata:
            yield each.name, each.metadata["kind"], each.metadata["help"], each.metadata["required"]


def read_form(document: Document, node: Node, form: type[F], what: str) -> F:
    """The form in a node; a key that is missing or wrong is None. Mistakes are recorded in the document."""
    kinds = {name: (kind, required) for name, kind, _, required in keys_of(form)}
    given = document.mapping(node, what, kinds)
    made = form(document.place(node))
    for name, (place, value) in given.items():
        made.places[name] = place
        setattr(made, name, kinds[name][0].read(document, value, f"{what}: {name}"))
    for name, (kind, required) in kinds.items():
        if required and name not in given and isinstance(node, yaml.MappingNode):
            document.wrong(node, f"{what}: {name} is missing; accepted: {kind.accepted}")
    return made
