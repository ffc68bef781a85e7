"""What the value of a key may be: each *kind* reads a node and says in one line what is accepted.

A form is a dataclass whose fields are made with `key`: name, kind and help are declared once, and the reader, the
messages and the reference in docs/policies.md come from there.
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
    """One key of a form: what it holds, and its help."""
    return field(default=None, metadata={"kind": kind, "help": text, "required": required})


@dataclass
class Form:
    """What a mapping of the file holds."""

    place: Place
    places: dict[str, Place] = field(default_factory=dict)
    """Where each given key stands."""

    def at_key(self, name: str) -> Place:
        """Where a key stands, or the form where it was not given."""
        return self.places.get(name, self.place)


class Kind:
    """Reads one node; None after a mistake, which the document then has."""

    accepted: str

    def read(self, document: Document, node: Node, what: str) -> Any:
        """The value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Kind):
    """A `Source` of a certain spelling."""

    accepted: str = "a text"
    pattern: str = r"(?s).+"

    def read(self, document: Document, node: Node, what: str) -> Source | None:
        return document.word(node, what, re.compile(self.pattern), self.accepted)


EXPRESSION = Text("a CEL expression")


@dataclass(frozen=True)
class Value(Kind):
    """What a setting of the same kind holds."""

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
    """What a setting of several words holds: in one text, or as a list; either may be empty."""

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
    """A list of texts, as a tuple of what `each` reads; one alone may stand without its list."""

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
    """A mapping of names of one's own to what `each` reads."""

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
    """The keys of a form: name, kind, help, and whether it must be there."""
    for each in fields(form):
        if "kind" in each.metadata:
            yield each.name, each.metadata["kind"], each.metadata["help"], each.metadata["required"]


def read_form(document: Document, node: Node, form: type[F], what: str) -> F:
    """A form with what could be read of it; a key that is missing or wrong is None."""
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
