"""Tags: what a stored answer depends on, and what invalidations name: `user/123`, `product/7`, `products`. Plain texts.

`Description` is what log lines call something that a policy describes, and its fields in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Plain = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Description:
    """What log lines call something, and its fields in them."""

    subject: str = ""
    fields: Mapping[str, Plain] = field(default_factory=dict)

    def to_say_of(self, tag: str) -> Mapping[str, Plain]:
        """The fields of a line about a tag: the policy's, else the tag itself."""
        return self.fields or {"tag": tag}


UNDESCRIBED = Description()


def told_kind(tag: str, about: Description, said: str) -> str:
    """What a tag is of, for traces: `said`, the policy's own word, else the kind of what the policy describes. Empty
    where neither is: then the tag may be all a caller's text, of any number and secret.
    """
    return said or (kind_of(tag) if about.fields else "")


def kind_of(tag: str) -> str:
    """What stands before its last slash, the whole of a tag without one: `user` of `user/123`."""
    return tag.rpartition("/")[0] if "/" in tag else tag
