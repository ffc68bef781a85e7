"""The format of a tag, the name of what stored answers depend on and invalidations refer to: `user/123`, `products`."""

from collections.abc import Iterable

from proxy.policy.expressions import ExpressionError

MOST_TAGS = 64
"""Of one write, one event or one answer."""
LONGEST_TAG = 512
"""Bytes, as UTF-8."""


class EmptyTagError(ExpressionError):
    """An expression gave an empty tag."""


def checked(tag: str) -> str:
    """The tag; ExpressionError where it is empty or too long."""
    if not tag:
        raise EmptyTagError("the tag is empty")
    if len(tag) > LONGEST_TAG or len(tag.encode()) > LONGEST_TAG:
        raise ExpressionError(f"the tag is longer than {LONGEST_TAG} bytes")
    return tag


def checked_all(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once, in their order; ExpressionError where they are too many or one cannot be used."""
    found = dict.fromkeys(tags)
    if len(found) > MOST_TAGS:
        raise ExpressionError(f"there are more than {MOST_TAGS} tags")
    return tuple(checked(tag) for tag in found)
