"""A policy at run time: one plain object for each method, whose callables hide the interpreter.

The callables raise ExpressionError if an expression fails on a message, and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from proxy.calls.lifetime import TEMPORARY, UNLIMITED, life_of
from proxy.calls.reads import Asked, Excess, Limits, Verdict
from proxy.calls.tags import Description, Plain
from proxy.policy.compiled_events import Event
from proxy.policy.descriptors import Descriptors
from proxy.policy.failures import ExpressionError
from proxy.policy.messages import Messages, without_signatures
from proxy.policy.tags import TooManyTagsError, literal_kind
from proxy.settings.upstream_tls import UpstreamTls


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
    unfit: str
    """Why an answer that upstream gave is not stored."""
    limits: Limits
    requests: Messages
    responses: Messages
    judged: Messages
    """The responses as far as `stores` looks at them."""
    tag_of: Callable[[Message], str]
    bypasses: Callable[[Message], bool]
    stores: Callable[[Message, Message], bool] | None
    """None: every OK answer."""
    aliases: Callable[[Message, Message], tuple[str, ...]] | None
    further_tags: Callable[[Message, Message], tuple[str, ...]] | None
    presigned_urls: Callable[[Message], list[str]] | None
    describe: Callable[[Message], Description]

    @property
    def dependent(self) -> bool:
        """Whether its answers may have further tags."""
        return self.further_tags is not None

    @property
    def kind(self) -> str:
        """What its tags are of, by the policy's own word; empty: only a tag tells."""
        return literal_kind(self.said.get("tag", ""))

    def asked(self, body: bytes) -> Asked | None:
        """What a request says; None where it is no such message, or has fields that the descriptors do not know."""
        request = self.requests.whole(body)
        if request is None:
            return None
        canonical = request.SerializeToString(deterministic=True)
        try:
            tag, bypass = self.tag_of(request), self.bypasses(request)
        except ExpressionError as error:
            return Asked("", canonical, bypass=True, problem=str(error))
        return Asked(tag, canonical, bypass, self.describe(request))

    def storable(self, request: bytes, response: bytes, temporary: float = TEMPORARY) -> Verdict | str:
        """What an OK answer to this request says of its storage, or why it is not to be stored."""
        if self.stores is None and self.aliases is None and self.further_tags is None and self.presigned_urls is None:
            return _PLAIN_VERDICT
        try:
            asked, answer = self.requests.readable(request), self.responses.readable(response)
            if self.stores is not None and not self.stores(asked, answer):
                return self.unfit
            return Verdict(
                aliases=self.aliases(asked, answer) if self.aliases is not None else (),
                further_tags=self.further_tags(asked, answer) if self.further_tags is not None else (),
                life=life_of(self.presigned_urls(answer), temporary) if self.presigned_urls is not None else UNLIMITED,
            )
        except TooManyTagsError as error:
            return Excess(f"the policy cannot tell: {error}")
        except ExpressionError as error:
            return f"the policy cannot tell: {error}"
        except ValueError:
            return self.unfit

    def successful(self, request: bytes, response: bytes) -> bool:
        """Whether an OK answer counts as a success; true where nobody can tell."""
        if self.stores is None:
            return True
        try:
            return self.stores(self.requests.readable(request), self.judged.readable(response))
        except ExpressionError:
            return True

    def shown(self, body: bytes) -> Mapping[str, Any]:
        """The fields of a request by name, as JSON has them; empty where it is none."""
        request = self.requests.whole(body)
        if request is None:
            return {}
        from google.protobuf import json_format  # noqa: PLC0415 -- only operators ask

        found: dict[str, Any] = json_format.MessageToDict(
            request, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return found

    def comparable(self, response: bytes) -> object:
        """What of an answer is the same each time it is fetched while nothing changes: all but URLs' signatures."""
        if self.presigned_urls is None:
            return response
        try:
            answer = self.responses.readable(response)
            urls = frozenset(self.presigned_urls(answer))
        except ExpressionError:
            return response
        return without_signatures(answer, urls)


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
    flush_reason: str
    """Why everything is flushed where no tag could be found."""
    requests: Messages
    invalidates: Callable[[Message], tuple[str, ...]]
    alias: Callable[[Message], str]
    """Empty: none."""
    look_up: LookUp | None
    succeeded: Callable[[bytes, bool], bool]
    """Whether an OK answer changed something; the second, where it cannot be read."""
    announced: bool
    """An event is to follow when it succeeds."""
    describe: Callable[[Message], Description]
    share: str = ""
    """The service whose answers are flushed where nobody can tell its tags; empty: all are."""

    @property
    def kind(self) -> str:
        """What its tags are of, by the policy's own word; empty: only a tag tells."""
        return literal_kind(self.said.get("invalidates", ""))

    @property
    def identity(self) -> object:
        """All that a policy says of it that decides what is invalidated; equal for what is the same."""
        return {name: text for name, text in self.said.items() if name != "subject"}, self.announced


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One service: where it is, and its methods by path."""

    name: str
    upstream: str
    """A gRPC target; empty: the default one."""
    upstream_tls: UpstreamTls | None
    """None: as of the default one."""
    address_variable: str
    unary: tuple[str, ...]
    """The paths of its unary methods, cached or not."""
    reads: Mapping[str, Read]
    writes: Mapping[str, Write]
    descriptors: Descriptors
    builtin: bool = False
    """The built-in policy's, taken in or served as it is."""

    @property
    def called(self) -> str:
        """As sentences for people have it."""
        return "the media service" if self.builtin else self.name

    @property
    def labels(self) -> dict[str, str]:
        """What metrics call its unary methods, by path; those of the built-in policy by their bare names."""
        return {path: path.rpartition("/")[2] if self.builtin else path[1:] for path in self.unary}


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A whole policy, as it was checked."""

    services: Mapping[str, Service]
    """By full name."""
    events: tuple[Event, ...]

    @property
    def files(self) -> list[str]:
        """The paths of certificates and keys that it names."""
        ways = [service.upstream_tls for service in self.services.values() if service.upstream_tls is not None]
        return [path for way in ways for path in (way.ca, way.cert, way.key) if path]

    @property
    def unary(self) -> list[str]:
        """The paths of all unary methods."""
        return [path for service in self.services.values() for path in service.unary]

    @property
    def labels(self) -> dict[str, str]:
        """What metrics call the unary methods, by path."""
        return {path: label for service in self.services.values() for path, label in service.labels.items()}

    @property
    def described(self) -> dict[str, DescriptorPool]:
        """By each service's name, who knows what it looks like."""
        return {name: service.descriptors.pool for name, service in self.services.items()}

    @property
    def large(self) -> frozenset[str]:
        """The paths of writes whose requests may be large."""
        return frozenset(path for path, write in self.writes.items() if write.large)

    @property
    def reads(self) -> dict[str, Read]:
        """Of all services, by path."""
        return {path: read for service in self.services.values() for path, read in service.reads.items()}

    @property
    def writes(self) -> dict[str, Write]:
        """Of all services, by path."""
        return {path: write for service in self.services.values() for path, write in service.writes.items()}
