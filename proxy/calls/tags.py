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
        """The fields of a log line about a tag: the policy's, or else the tag itself."""
        return self.fields or {"tag": tag}


UNDESCRIBED = Description()


def told_kind(tag: str, about: Description, said: str) -> str:
    """A tag's kind for traces: `said`, the policy's literal, or else the tag's own if the policy describes it. Empty if
    neither is there, since the whole tag may then be a caller's text: secret, or of too many values.
    """
    return said or (kind_of(tag) if about.fields else "")


def kind_of(tag: str) -> str:
    """The part of a tag before its last slash, or the whole tag if it has none: `user` of `user/123`."""
    return tag.rpartition("/")[0] if "/" in tag else tag
