"""YAML with positions: `Document` parses a file into nodes; a `Source` is a text in it with its line and column.

Values are kept as written: `1h`, `yes` and `007` stay texts until the reader of the key decides what they are, so
YAML's implicit types have no effect.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import yaml

from proxy.policy.mistakes import Mistake, Place, PolicyError, not_understood, shown, unknown

MOST_BYTES = 1 << 20
"""The largest file that is read; a policy of a thousand methods has a tenth of it."""

Node = yaml.Node


@dataclass(frozen=True, slots=True)
class Source:
    """One scalar of the file."""

    text: str
    place: Place
    """The place of its first character."""
    exact: bool = True
    """It is on one line and has no escapes: column n of the text is n - 1 columns after `place`."""
    indent: int = 0
    """The number of columns by which the lines of a literal block are indented; 0 for any other scalar."""

    def at(self, line: int, column: int) -> Place:
        """The place of a line and column of the text, counted from 1; `place` itself if that is unknown."""
        if self.indent:
            return Place(self.place.file, self.place.line + line - 1, self.indent + column)
        if self.exact and line == 1:
            return Place(self.place.file, self.place.line, self.place.column + column - 1)
        return self.place


class Document:
    """One file being read. Mistakes are collected, so that a person sees all of them at once.

    Raises PolicyError if the text is not YAML at all.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []
        self._lines = text.splitlines()
        self.root = self._compose(text)

    def place(self, node: Node) -> Place:
        """The place where a node begins."""
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def wrong(self, at: Node | Place, text: str) -> None:
        """Records a mistake."""
        self.mistakes.append(Mistake(at if isinstance(at, Place) else self.place(at), text))

    def mapping(self, node: Node, what: str, known: Iterable[str] | None) -> dict[str, tuple[Place, Node]]:
        """The place and value of each key of a mapping. `known` lists the accepted keys; None accepts any."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what}: {_found(node)}; accepted: keys with values")
            return {}
        names = None if known is None else tuple(known)
        found: dict[str, tuple[Place, Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in found:
                self.wrong(key, f"{what}: {name!r} appears twice; accepted: each key once")
            elif names is not None and name not in names:
                self.wrong(key, f"{what}: {unknown('key', name, names)}")
            else:
                found[name] = (self.place(key), value)
        return found

    def items(self, node: Node, what: str) -> Iterator[Node]:
        """The items of a list; an empty value is a list without any."""
        if isinstance(node, yaml.SequenceNode):
            yield from node.value
        elif not _is_empty(node):
            self.wrong(node, f"{what}: {_found(node)}; accepted: a list")

    def text(self, node: Node, what: str, accepted: str = "a text") -> Source | None:
        """A scalar that is not empty; None after a mistake."""
        if not isinstance(node, yaml.ScalarNode):
            whole = ", quoted as a whole" if "expression" in accepted else ""
            self.wrong(node, f"{what}: {_found(node)}; accepted: {accepted}{whole}")
            return None
        source = self._source(node)
        if not source.text.strip():
            self.wrong(node, f"{what}: is empty; accepted: {accepted}")
            return None
        return source

    def word(self, node: Node, what: str, pattern: re.Pattern[str], accepted: str) -> Source | None:
        """A scalar that matches a pattern as a whole; None after a mistake."""
        source = self.text(node, what, accepted)
        if source is not None and not pattern.fullmatch(source.text):
            self.wrong(source.place, not_understood(what, source.text, accepted))
            return None
        return source

    def flag(self, node: Node, what: str) -> bool:
        """Whether a scalar is `true`; False after a mistake too."""
        source = self.word(node, what, re.compile("true|false"), "true, false")
        return source is not None and source.text == "true"

    def _source(self, node: yaml.ScalarNode) -> Source:
        place = self.place(node)
        start, end = node.start_mark, node.end_mark
        if node.style == "|":
            inner = self._lines[start.line + 1 : end.line + 1]
            first = next((line for line in inner if line.strip()), "")
            indent = len(first) - len(first.lstrip(" "))
            return Source(node.value, Place(self.file, place.line + 1, indent + 1), indent=indent)
        quoted = 1 if node.style in {"'", '"'} else 0
        written = (
            self._lines[start.line][start.column + quoted : end.column - quoted] if start.line == end.line else None
        )
        return Source(node.value, Place(self.file, place.line, place.column + quoted), exact=written == node.value)

    def _compose(self, text: str) -> Node:
        if len(text.encode(errors="surrogatepass")) > MOST_BYTES:
            raise PolicyError([Mistake(Place(self.file), f"is too long; accepted: at most {MOST_BYTES >> 20} MiB")])
        try:
            root = yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)
            written = self._lines[mark.line] if mark and mark.line < len(self._lines) else ""
            told = f"is not valid YAML: {error.problem or error.context}{_hint(written)}"
            raise PolicyError([Mistake(place, told)]) from None
        except (yaml.YAMLError, UnicodeError, RecursionError) as error:
            raise PolicyError(
                [Mistake(Place(self.file), f"is not valid YAML: {str(error).splitlines()[0]}; accepted: YAML")]
            ) from None
        if root is None:
            raise PolicyError([Mistake(Place(self.file), "is empty; accepted: a policy, which begins with version: 1")])
        return root


_CUT_OFF = re.compile(r"""(?:^|:|-)\s+(?:'[^']*'|"[^"]*"|\[[^\]]*\]|\{[^}]*\})\s*[^\s,#]""")
"""A value that begins with a quote or a bracket and goes on after the closing one."""


def _hint(line: str) -> str:
    """What is accepted in place of a line that is not valid YAML."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; accepted: lines that are indented with spaces"
    if _CUT_OFF.search(line):
        return "; accepted: an expression that is quoted as a whole, like \"'product/' + string(request.id)\""
    return "; accepted: YAML"


def _is_empty(node: Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value.strip() and not node.style


def _found(node: Node) -> str:
    match node:
        case yaml.MappingNode():
            return "keys with values were given"
        case yaml.SequenceNode():
            return "a list was given"
        case _:
            return f"{shown(node.value)} was given" if node.value else "nothing was given"
