"""The *head* of an expression's tags: what they begin with, as far as the expression's text shows it.

The tags of `'product/' + string(request.id)` begin with `product/`. If the text does not show what tags begin with, the
head is empty and fits any tag.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"""\s*(?:('[^'\\\n]*'|"[^"\\\n]*")|(\w+)|([^\s'"\\]))""")
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of some tags, or one whole tag."""

    text: str
    whole: bool = False

    def meets(self, other: "Head") -> bool:
        """Whether any tag fits both heads."""
        if self.whole and other.whole:
            return self.text == other.text
        if self.whole:
            return self.text.startswith(other.text)
        if other.whole:
            return other.text.startswith(self.text)
        return self.text.startswith(other.text) or other.text.startswith(self.text)


ANY = Head("")


@lru_cache(maxsize=1024)
def heads(expression: str) -> frozenset[Head]:
    """The heads of an expression that gives a tag or a list of tags; no heads if the list is always empty."""
    tokens: list[str] = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None:
            return frozenset({ANY})  # an escape, or a literal of several lines
        if match[1] and tokens and re.fullmatch(r"\w+|'.*'|\".*\"", tokens[-1]):
            return frozenset({ANY})  # r'…' or '''…'''
        tokens.append(match[1] or match[2] or match[3])
        at = match.end()
    return _heads(tokens)


def _heads(tokens: list[str]) -> frozenset[Head]:
    chosen = _split(tokens, "?")
    if len(chosen) > 1:
        return _of_choice(tokens[len(chosen[0]) + 1 :])
    first, *more = operands = _split(tokens, "+")
    lists = [_of_list(operand) for operand in operands]
    if all(found is not None for found in lists):
        return frozenset().union(*(found for found in lists if found is not None))
    if len(first) == 1 and first[0][0] in "'\"":
        return frozenset({Head(first[0][1:-1], whole=not more)})
    return frozenset({ANY})


def _of_choice(tokens: list[str]) -> frozenset[Head]:
    """The heads of what follows a question mark: `a : b`, where b may be a choice as well."""
    depth = pending = 0
    for at, part in enumerate(tokens):
        depth += (part in _OPENING) - (part in _CLOSING)
        if depth == 0 and part == "?":
            pending += 1
        if depth == 0 and part == ":":
            if not pending:
                return _heads(tokens[:at]) | _heads(tokens[at + 1 :])
            pending -= 1
    return frozenset({ANY})


def _of_list(tokens: list[str]) -> frozenset[Head] | None:
    """The heads of a list or of an expression in parentheses; None if it is neither, as far as the tokens show."""
    if not tokens or tokens[-1] not in _CLOSING:
        return None
    opening = _opened(tokens)
    inside = tokens[opening + 1 : -1]
    if opening == 0 and tokens[0] == "[":
        return frozenset().union(*(_heads(each) for each in _split(inside, ",") if each))
    if opening == 0 and tokens[0] == "(":
        return _heads(inside)
    if tokens[opening - 2 : opening] == [".", "map"]:
        return _heads(_split(inside, ",")[-1])
    return None


def _opened(tokens: list[str]) -> int:
    """The index of the bracket that the last token closes."""
    depth = 0
    for at in range(len(tokens) - 1, -1, -1):
        depth += (tokens[at] in _CLOSING) - (tokens[at] in _OPENING)
        if depth == 0:
            return at
    return 0


def _split(tokens: list[str], by: str) -> list[list[str]]:
    """The parts between the tokens `by` that are outside any brackets."""
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if token == by and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
