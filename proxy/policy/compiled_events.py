"""`Event`: what a policy says about one kind of event, as a plain object whose callables hide the CEL interpreter."""

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
    """Messages of one queue, and the tags that they invalidate."""

    exchange: str
    routing_keys: tuple[str, ...]
    queue: str
    """The end of the queue's name, after EVENTS_QUEUE_PREFIX."""
    said: Mapping[str, str]
    """The expressions as the policy spells them, by key; for people."""
    flushes: bool
    """Whether a message whose tags cannot be determined causes a flush; otherwise it is only logged."""
    share: str
    """The service whose answers are then flushed; empty means all services."""
    kinds: frozenset[str]
    """The last words of all routing keys of the policy."""
    form: str
    """The form of the bodies: json, envelope, or the full name of a protobuf type."""
    message: type[Message] | None
    """The class of that protobuf type; None for json and envelope."""
    body: Body
    invalidates: Callable[[object], tuple[str, ...]]
    describe: Callable[[object, str], Description]

    def tags_of(self, body: bytes, routing_key: str) -> tuple[tuple[str, ...], Description]:
        """The tags that a message invalidates, and what log lines call it; raises BadBody if they are unclear."""
        event = self.body(body)
        try:
            return self.invalidates(event), self.describe(event, routing_key)
        except ExpressionError:
            raise BadBody("invalidates") from None

    @property
    def tag_kind(self) -> str:
        """The kind of its tags, such as `product`: what its expression begins with, or empty if that is no literal."""
        return literal_kind(self.said.get("invalidates", ""))

    @property
    def identity(self) -> object:
        """Everything in the policy that decides what it invalidates; equal for events that invalidate the same."""
        said = {name: text for name, text in self.said.items() if name != "subject"}
        return self.exchange, self.routing_keys, self.queue, self.flushes, self.share, self.form, said

    def takes(self, routing_key: str) -> bool:
        """Whether its queue receives messages with this routing key, by the rules of topic exchanges."""
        return any(_matches(key.split("."), routing_key.split(".")) for key in self.routing_keys)

    def kind(self, routing_key: str) -> str:
        """A metric label with few values: the last word of the routing key if any key of the policy ends in it, else
        `other`. If an operator moved messages by hand, the key is our queue's name, whose last word is the same.
        """
        word = re.split(r"[.-]", routing_key)[-1]
        return word if word in self.kinds else "other"


def _matches(pattern: list[str], words: list[str]) -> bool:
    """Whether a pattern matches: `*` is one word, `#` is any number of words."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and _matches(pattern[1:], words[1:])
