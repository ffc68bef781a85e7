"""What a policy says of one kind of event, as a plain object that knows no interpreter."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from proxy.calls.tags import Description
from proxy.policy.bodies import BadBody, Body
from proxy.policy.failures import ExpressionError
from proxy.policy.tags import literal_kind


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Messages of one queue that name tags."""

    exchange: str
    routing_keys: tuple[str, ...]
    queue: str
    """The end of its name."""
    said: Mapping[str, str]
    """The expressions as the policy has them, by their keys; for people."""
    flushes: bool
    """What names no tag has what is stored flushed; else it is dropped."""
    share: str
    """The service of which; empty: of all."""
    kinds: frozenset[str]
    """The last words of all routing keys of the policy."""
    form: str
    """Of its bodies: json, envelope, or a message's type."""
    message: type[Message] | None
    """The class of that type."""
    body: Body
    invalidates: Callable[[object], tuple[str, ...]]
    describe: Callable[[object, str], Description]

    def tags_of(self, body: bytes, routing_key: str) -> tuple[tuple[str, ...], Description]:
        """What a message invalidates, and what log lines call it; BadBody where that cannot be told."""
        event = self.body(body)
        try:
            return self.invalidates(event), self.describe(event, routing_key)
        except ExpressionError:
            raise BadBody("invalidates") from None

    @property
    def tag_kind(self) -> str:
        """What its tags are of, by the policy's own word; empty: only a tag tells."""
        return literal_kind(self.said.get("invalidates", ""))

    @property
    def identity(self) -> object:
        """All that a policy says of it that decides what is invalidated; equal for what is the same."""
        said = {name: text for name, text in self.said.items() if name != "subject"}
        return self.exchange, self.routing_keys, self.queue, self.flushes, self.share, self.form, said

    def takes(self, routing_key: str) -> bool:
        """Whether its queue is bound to a key, by the rules of topic exchanges."""
        return any(_matches(key.split("."), routing_key.split(".")) for key in self.routing_keys)

    def kind(self, routing_key: str) -> str:
        """A label of bounded number: the last word of the key, or of our queue's name where an operator moved messages
        by hand, if any key of the policy ends in it; else `other`."""
        word = re.split(r"[.-]", routing_key)[-1]
        return word if word in self.kinds else "other"


def _matches(pattern: list[str], words: list[str]) -> bool:
    """`*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and _matches(pattern[1:], words[1:])
