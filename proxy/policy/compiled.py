"""A policy at run time: one plain object for each method, whose callables hide the CEL interpreter.

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
    """The path on the wire, like `/shop.Products/Get`."""
    digest: bytes
    """A hash of what the policy says about this read, 16 bytes. An entry stored under another one is never served."""
    said: Mapping[str, str]
    """The expressions as the policy spells them, by key; for people."""
    unfit: str
    """The reason to log if an OK answer is not stored."""
    limits: Limits
    requests: Messages
    responses: Messages
    judged: Messages
    """The responses with only the fields that `stores` uses."""
    tag_of: Callable[[Message], str]
    bypasses: Callable[[Message], bool]
    stores: Callable[[Message, Message], bool] | None
    """None means that every OK answer is stored."""
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
        """The kind of its tags, such as `product`: what its expression begins with, or empty if that is no literal."""
        return literal_kind(self.said.get("tag", ""))

    def asked(self, body: bytes) -> Asked | None:
        """The tag of a request and its canonical bytes; None if it cannot be parsed or has unknown fields.

        If an expression fails, the read bypasses the cache and `problem` says why.
        """
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
        """How the OK answer to this request may be stored, or the reason why it may not be.

        `temporary` is how long a URL signed with temporary credentials may be kept, in seconds.
        """
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
        """Whether an OK answer counts as a success; true if the policy cannot tell."""
        if self.stores is None:
            return True
        try:
            return self.stores(self.requests.readable(request), self.judged.readable(response))
        except ExpressionError:
            return True

    def shown(self, body: bytes) -> Mapping[str, Any]:
        """The fields of a request by name, in protobuf's JSON mapping; empty if `asked` would give None."""
        request = self.requests.whole(body)
        if request is None:
            return {}
        from google.protobuf import json_format  # noqa: PLC0415 -- only operators ask

        found: dict[str, Any] = json_format.MessageToDict(
            request, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return found

    def comparable(self, response: bytes) -> object:
        """The answer without the signatures of its presigned URLs: it compares equal until the data changes."""
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
    """Another method of the service, whose answer says what a write changes."""

    path: str
    request: Callable[[Message], bytes]
    """Makes the request of this method from the write's."""
    tags: Callable[[Message, bytes], tuple[str, ...]]
    """Gives the tags, from the write's request and this method's answer."""
    describe: Callable[[bytes], Mapping[str, Plain]]
    """Gives more fields for the write's log line, from the answer."""
    responses: Messages


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A method that changes what tags name."""

    service: str
    name: str
    path: str
    said: Mapping[str, str]
    """The expressions as the policy spells them, by key; for people."""
    large: bool
    """Requests may have up to 50 MiB."""
    flush_reason: str
    """The reason to log for a flush because no tag could be found."""
    requests: Messages
    invalidates: Callable[[Message], tuple[str, ...]]
    alias: Callable[[Message], str]
    """Gives an empty text if there is no alias."""
    look_up: LookUp | None
    succeeded: Callable[[bytes, bool], bool]
    """Whether an OK answer means a change; the second argument is returned if the answer cannot be read."""
    announced: bool
    """An event should follow each success."""
    describe: Callable[[Message], Description]
    share: str = ""
    """The service whose answers are flushed if no tag can be found; empty means all services."""

    @property
    def kind(self) -> str:
        """The kind of its tags, such as `product`: what its expression begins with, or empty if that is no literal."""
        return literal_kind(self.said.get("invalidates", ""))

    @property
    def identity(self) -> object:
        """Everything in the policy that decides what it invalidates; equal for writes that invalidate the same."""
        return {name: text for name, text in self.said.items() if name != "subject"}, self.announced


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One service: its address, and its methods by path."""

    name: str
    upstream: str
    """A gRPC target; empty means the default upstream."""
    upstream_tls: UpstreamTls | None
    """None means the default upstream's settings."""
    address_variable: str
    """The environment variable in which callers keep the address; empty if there is none."""
    unary: tuple[str, ...]
    """The paths of all its unary methods, cached or not."""
    reads: Mapping[str, Read]
    writes: Mapping[str, Write]
    descriptors: Descriptors
    builtin: bool = False
    """It comes from the built-in policy, which is served as it is or included by another one."""

    @property
    def called(self) -> str:
        """What messages for people call it."""
        return "the media service" if self.builtin else self.name

    @property
    def labels(self) -> dict[str, str]:
        """The metric labels of its unary methods, by path; methods of the built-in policy have their bare names."""
        return {path: path.rpartition("/")[2] if self.builtin else path[1:] for path in self.unary}


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A whole policy, checked."""

    services: Mapping[str, Service]
    """The services, by full name."""
    events: tuple[Event, ...]

    @property
    def files(self) -> list[str]:
        """The paths of the certificates and keys that it names."""
        ways = [service.upstream_tls for service in self.services.values() if service.upstream_tls is not None]
        return [path for way in ways for path in (way.ca, way.cert, way.key) if path]

    @property
    def unary(self) -> list[str]:
        """The paths of the unary methods of all services."""
        return [path for service in self.services.values() for path in service.unary]

    @property
    def labels(self) -> dict[str, str]:
        """The metric labels of the unary methods of all services, by path."""
        return {path: label for service in self.services.values() for path, label in service.labels.items()}

    @property
    def described(self) -> dict[str, DescriptorPool]:
        """The pool with each service's descriptors, by the service's name."""
        return {name: service.descriptors.pool for name, service in self.services.items()}

    @property
    def large(self) -> frozenset[str]:
        """The paths of writes whose requests may be large."""
        return frozenset(path for path, write in self.writes.items() if write.large)

    @property
    def reads(self) -> dict[str, Read]:
        """The reads of all services, by path."""
        return {path: read for service in self.services.values() for path, read in service.reads.items()}

    @property
    def writes(self) -> dict[str, Write]:
        """The writes of all services, by path."""
        return {path: write for service in self.services.values() for path, write in service.writes.items()}
