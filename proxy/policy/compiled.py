"""What a policy is while calls pass: one plain object for each method and event, whose callables know no interpreter.

Their callables raise ExpressionError where a policy's expression fails on a message, and nothing else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from proxy.policy.bodies import BadBody, Body
from proxy.policy.expressions import ExpressionError
from proxy.policy.messages import Messages
from proxy.policy.presigned import UNLIMITED, Life, life_of

Plain = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Description:
    """What log lines call something, and its fields in them."""

    subject: str = ""
    fields: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer says of its own storage."""

    aliases: tuple[str, ...] = ()
    further_tags: tuple[str, ...] = ()
    life: Life = UNLIMITED
    """Of the presigned URLs in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy says of how answers of a read live; None: as the settings have it. Durations in seconds."""

    ttl: float | None = None
    stale_if_error: float | None = None
    stale_while_revalidate: float | None = None
    ttl_with_further_tags: float = 300.0
    max_entry_bytes: int | None = None
    negative_ttl: Mapping[str, float] = field(default_factory=dict)
    """By the name of a gRPC status."""
    vary: tuple[str, ...] | None = None
    keyed: bool = True
    """A fetch carries of the caller's metadata only what is in the key, tracing headers and `propagate`."""
    propagate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A method whose answers are stored, each under one tag."""

    service: str
    name: str
    path: str
    """As on the wire: `/shop.Products/Get`."""
    digest: bytes
    """Of what the policy says of this read: another one never serves what this one stored."""
    said: Mapping[str, str]
    """The expressions as the policy has them, by their keys; for people."""
    limits: Limits
    requests: Messages
    responses: Messages
    tag_of: Callable[[Message], str]
    bypasses: Callable[[Message], bool]
    stores: Callable[[Message, Message], bool] | None
    """None: every OK answer."""
    aliases: Callable[[Message, Message], tuple[str, ...]] | None
    further_tags: Callable[[Message, Message], tuple[str, ...]] | None
    presigned_urls: Callable[[Message], list[str]] | None
    describe: Callable[[Message], Description]

    def storable(self, request: bytes, response: bytes) -> Verdict | None:
        """What an OK answer to this request says of its storage; None: it is not to be stored."""
        if self.stores is None and self.aliases is None and self.further_tags is None and self.presigned_urls is None:
            return _PLAIN_VERDICT
        asked, answer = self.requests.readable(request), self.responses.readable(response)
        if self.stores is not None and not self.stores(asked, answer):
            return None
        try:
            life = life_of(self.presigned_urls(answer)) if self.presigned_urls is not None else UNLIMITED
        except ValueError:
            return None
        return Verdict(
            aliases=self.aliases(asked, answer) if self.aliases is not None else (),
            further_tags=self.further_tags(asked, answer) if self.further_tags is not None else (),
            life=life,
        )


_PLAIN_VERDICT = Verdict()


@dataclass(frozen=True, slots=True, eq=False)
class LookUp:
    """Another method of the service, which tells what a write changes."""

    path: str
    request: Callable[[Message], bytes]
    """Of the write's request: the request to ask with."""
    tags: Callable[[Message, bytes], tuple[str, ...]]
    """Of the write's request and the answer."""
    describe: Callable[[bytes], Mapping[str, Plain]]
    """Of the answer."""
    responses: Messages


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A method that changes what tags name."""

    service: str
    name: str
    path: str
    said: Mapping[str, str]
    """The expressions as the policy has them, by their keys; for people."""
    large: bool
    requests: Messages
    invalidates: Callable[[Message], tuple[str, ...]]
    alias: Callable[[Message], str]
    """Empty: none."""
    look_up: LookUp | None
    succeeded: Callable[[bytes], bool]
    """Whether an OK answer changed something; true where it cannot be read."""
    describe: Callable[[Message], Description]


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
    """What names no tag has everything flushed; else it is dropped."""
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

    def takes(self, routing_key: str) -> bool:
        """Whether its queue is bound to a key, by the rules of topic exchanges."""
        return any(_matches(key.split("."), routing_key.split(".")) for key in self.routing_keys)

    def kind(self, routing_key: str) -> str:
        """A label of bounded number: the last word of the key, or of our queue's name where an operator moved messages
        by hand, if a key of the policy ends in it; else `other`."""
        word = re.split(r"[.-]", routing_key)[-1]
        return word if any(key.rpartition(".")[2] == word for key in self.routing_keys) else "other"


def _matches(pattern: list[str], words: list[str]) -> bool:
    """`*` is one word, `#` any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and _matches(pattern[1:], words[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One service: where it is, and its methods by path."""

    name: str
    upstream: str
    """A gRPC target; empty: the default one."""
    address_variable: str
    reads: Mapping[str, Read]
    writes: Mapping[str, Write]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A whole policy, as it was checked."""

    services: Mapping[str, Service]
    """By full name."""
    events: tuple[Event, ...]
