"""The format of a tag, the name of what stored answers depend on and invalidations refer to: `user/123`, `products`."""

import re
from collections.abc import Iterable
from functools import lru_cache

from proxy.policy.failures import ExpressionError

MOST_TAGS = 64
"""The most tags of one write, one event or one answer."""
MOST_ALIASES = 1000
"""The most aliases of one answer."""
LONGEST_TAG = 512
"""The longest tag, in bytes of UTF-8."""
_LITERAL = re.compile(r"""[\s(\[]*(?:'([^'\\/]+)|"([^"\\/]+))""")


class EmptyTagError(ExpressionError):
    """An expression gave an empty tag."""


class TooLongTagError(ExpressionError):
    """An expression gave a tag that is too long."""


class TooManyTagsError(ExpressionError):
    """An expression gave more than `MOST_TAGS` tags."""


def checked(tag: str) -> str:
    """The tag itself; raises EmptyTagError or TooLongTagError."""
    if not tag:
        raise EmptyTagError("the tag is empty")
    if len(tag) > LONGEST_TAG or len(tag.encode()) > LONGEST_TAG:
        raise TooLongTagError(f"the tag is longer than {LONGEST_TAG} bytes")
    return tag


def checked_all(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once, in their order; raises ExpressionError if there are too many or one cannot be used."""
    found = dict.fromkeys(tags)
    if len(found) > MOST_TAGS:
        raise TooManyTagsError(f"there are more than {MOST_TAGS} tags")
    return tuple(checked(tag) for tag in found)


def bounded_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """The aliases, each once, in their order; raises ExpressionError if there are too many."""
    found = tuple(dict.fromkeys(aliases))
    if len(found) > MOST_ALIASES:
        raise ExpressionError(f"there are more than {MOST_ALIASES} aliases")
    return found


@lru_cache(maxsize=1024)
def literal_kind(expression: str) -> str:
    """The literal that an expression of tags begins with, up to a slash; empty if it begins with anything else."""
    found = _LITERAL.match(expression)
    return "" if found is None else (found[1] or found[2]).strip()
