"""What a policy file may say: its forms, each key declared once with its kind and its help.

A missing key is None, so that a policy that includes a built-in service can override single keys of it.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from proxy.policy.document import Document, Source
from proxy.policy.kinds import (
    EXPRESSION,
    Flag,
    Form,
    Forms,
    Inner,
    Named,
    Several,
    Text,
    Value,
    Words,
    key,
    keys_of,
    read_form,
)
from proxy.settings.setting_types import Count, Duration, GrpcTarget, MetadataKeys
from proxy.settings.tls_rules import PemFile, ServerName

_DAY = 86400.0
_METHOD = Text("the name of a method, like GetProduct", r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
_SERVICE = Text("a service's full name, like shop.ProductService", _TYPE)
_ROUTING_KEY = Text("an AMQP routing key of at most 255 characters", r"[^\x00-\x1f\x7f]{1,255}")
_QUEUE = Text("1 to 64 letters, digits, dots, dashes or underscores", r"[A-Za-z0-9._-]{1,64}")
FIELD_TYPES = ("text", "int64", "text?", "int64?")
_FIELD = Text(", ".join(FIELD_TYPES), r"(text|int64)\??")
STORABLE = ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")
"""Statuses that a service gives for reasons of its own, to whoever asks. All others are of a moment or a caller."""
JSON_BODIES = ("json", "envelope")
_key = key
"""For a form with a key of that name."""

T = TypeVar("T", bound=Form)


@dataclass
class LookUp(Form):
    """`look_up`: another method of the service tells which tags a write changes."""

    method: Source | None = key(_METHOD, "The method that is asked, with the caller's metadata.", required=True)
    request: Source | None = key(
        EXPRESSION,
        "On `request`, the write's: the message to ask with, like `shop.GetByID{id: request.id}`.",
        required=True,
    )
    invalidates: Source | None = key(
        EXPRESSION, "On `request` and `response`, of the method that was asked: a list of tags.", required=True
    )
    log: dict[str, Source] | None = key(Named(EXPRESSION), "On `response`: what the write's log line says besides.")


@dataclass
class Read(Form):
    """A read: a method whose answers are stored, each under one tag."""

    method: Source | None = key(_METHOD, "The method's name. It must be unary.", required=True)
    tag: Source | None = key(
        EXPRESSION, "On `request`: the tag that the answer lies under. Only what is built in may go without."
    )
    ttl: float | None = key(Value(Duration(_DAY)), "How long an answer is served; default: CACHE_TTL.")
    store: Source | None = key(
        EXPRESSION, "On `request` and `response`: whether the answer is stored; default: every OK answer."
    )
    bypass: Source | None = key(
        EXPRESSION, "On `request`: such a read is forwarded, neither answered from the cache nor stored."
    )
    further_tags: Source | None = key(
        EXPRESSION,
        "On `request` and `response`: a list of further tags of the answer, of which each removes it too; an answer "
        "with more than 64 is not stored.",
    )
    aliases: Source | None = key(
        EXPRESSION, "On `request` and `response`: a list of other names of the tag, for writes that name no tag."
    )
    presigned_urls: Source | None = key(
        EXPRESSION,
        "On `response`: a list of URLs in it. No answer is served beyond the life of any, and shadow mode compares "
        "them without their signatures.",
    )
    vary: tuple[str, ...] | None = key(
        Words(MetadataKeys()), "Request metadata that tells callers apart; default: CACHE_VARY_METADATA."
    )
    metadata: Source | None = key(
        Text("keyed, all", "keyed|all"),
        "What of the caller's metadata a fetch carries whose answer may be stored. keyed: `vary`, tracing headers and "
        "`propagate`; all: everything.",
    )
    propagate: tuple[str, ...] | None = key(
        Words(MetadataKeys()),
        "Metadata that such a fetch carries besides, though answers are shared between its values.",
    )
    max_entry_bytes: int | None = key(
        Value(Count(1, 64 << 20, sizes=True)), "Larger answers are not stored; default: CACHE_MAX_ENTRY_BYTES."
    )
    stale_if_error: float | None = key(
        Value(Duration(_DAY)), "How long past its time an answer may stand in; default: CACHE_STALE_IF_ERROR."
    )
    stale_while_revalidate: float | None = key(
        Value(Duration(_DAY)),
        "How long past its time an answer may be served while a fresh one is fetched; "
        "default: CACHE_STALE_WHILE_REVALIDATE.",
    )
    negative_ttl: dict[str, float] | None = key(
        Named(Value(Duration(_DAY)), ", ".join(STORABLE), "|".join(STORABLE)),
        "How long a status other than OK is kept, by its name, like {NOT_FOUND: 30s}; default: none is.",
    )
    ttl_with_further_tags: float | None = key(
        Value(Duration(_DAY)),
        "How long an answer with further tags is kept at most, where Redis may evict keys or is a Cluster of several "
        "masters; default: 5m.",
    )
    subject: Source | None = key(EXPRESSION, "On `request`: what log lines call the answer; default: the method.")
    log: dict[str, Source] | None = key(
        Named(EXPRESSION), "On `request`: the fields of its log lines; default: the tag."
    )


@dataclass
class Write(Form):
    """A write: a method that changes what tags name; its callers read their own writes."""

    method: Source | None = key(_METHOD, "The method's name. It must be unary.", required=True)
    invalidates: Source | None = key(EXPRESSION, "On `request`: a list of the tags that it changes.")
    alias: Source | None = key(EXPRESSION, "On `request`: an alias of the tag that it changes; empty: none.")
    look_up: LookUp | None = key(Inner(LookUp), "Who is asked where no answer has told the alias yet.")
    succeeded: Source | None = key(
        EXPRESSION, "On `response`: whether an OK answer changed something; default: true. Asked where no tag is known."
    )
    announced: bool | None = key(
        Flag(),
        "true: an event of this policy follows each such write that succeeds; where none comes, answers are trusted "
        "for CACHE_TTL_WITHOUT_EVENTS only.",
    )
    flush_reason: Source | None = key(
        Text(),
        "Why the answers of the service are flushed, for the log, where a write that changed something names no tag.",
    )
    large: bool | None = key(Flag(), "Requests of up to 50 MiB: they have memory of their own and wait for it.")
    subject: Source | None = key(EXPRESSION, "On `request`: what log lines call what it changes; default: the method.")
    log: dict[str, Source] | None = key(
        Named(EXPRESSION), "On `request`: the fields of its log lines; default: the tags."
    )


@dataclass
class Event(Form):
    """An event: messages of an exchange that name tags."""

    exchange: Source | None = key(
        Text("the name of a topic exchange", r"[A-Za-z0-9._:-]{1,127}"), "The topic exchange.", required=True
    )
    routing_keys: tuple[Source, ...] | None = key(
        Several(_ROUTING_KEY), "The routing keys; * and # as AMQP has them.", required=True
    )
    queue: Source | None = key(
        _QUEUE, "The end of our queue's name, after EVENTS_QUEUE_PREFIX; default: the exchange and the first key."
    )
    body: Source | None = key(
        Text("json, envelope, or the full name of a message type", _TYPE),
        "json: an object; envelope: an object whose `data` holds it, in base64 or not; or a protobuf message's type. "
        "Default: json.",
    )
    message_of: Source | None = key(
        _SERVICE, "The service whose descriptors know the message type; default: the first that does."
    )
    fields: dict[str, Source] | None = key(
        Named(_FIELD),
        "Of a JSON body: the fields of `event`. A message that lacks one is malformed; with ? it is empty or 0.",
    )
    invalidates: Source | None = key(EXPRESSION, "On `event`: a list of tags.", required=True)
    unreadable: Source | None = key(
        Text("drop, flush", "drop|flush"),
        "What is done where tags cannot be told; default: flush what is stored. drop: counted and logged only.",
    )
    service: Source | None = key(
        _SERVICE, "The service whose stored answers are flushed where tags cannot be told; default: those of all."
    )
    subject: Source | None = key(EXPRESSION, "On `event`: what log lines call what changed; default: the routing key.")
    log: dict[str, Source] | None = key(
        Named(EXPRESSION), "On `event`: the fields of its log lines; default: the tags."
    )


@dataclass
class UpstreamTls(Form):
    """`upstream_tls`: how the service is reached."""

    mode: Source | None = _key(Text("on, off", "on|off"), "off: in plaintext, whatever UPSTREAM_TLS says. Default: on.")
    ca: str | None = _key(Value(PemFile()), "CAs to trust it by, beside the policy; default: the public ones.")
    cert: str | None = _key(Value(PemFile()), "Our certificate for it, where it asks for one.")
    key: str | None = _key(Value(PemFile()), "Private key of `cert`, not encrypted.")
    server_name: str | None = _key(
        Value(ServerName()), "The name that its certificate must have; default: the one in `upstream`."
    )


@dataclass
class Service(Form):
    """A gRPC service, its reads and its writes."""

    name: Source | None = key(_SERVICE, "The service's full name.", required=True)
    builtin: bool | None = key(
        Flag(), "true: take in what the built-in policy says of this service; keys given here override it."
    )
    upstream: str | None = key(Value(GrpcTarget()), "Where the service is; default: MEDIA_SERVICE_ADDR.")
    upstream_tls: UpstreamTls | None = key(
        Inner(UpstreamTls), "How it is reached over TLS; default: as UPSTREAM_TLS and UPSTREAM_TLS_* say."
    )
    address_variable: Source | None = key(
        Text("the name of an environment variable", "[A-Z_][A-Z0-9_]*"),
        "The variable by which callers know the service's address: the injector points it at the sidecar.",
    )
    descriptors: Source | None = key(
        Text("the path of a FileDescriptorSet beside the policy, or reflection"),
        "What its messages look like: a file of protoc or buf, or `reflection`.",
    )
    reads: tuple[Read, ...] | None = key(Forms(Read), "The methods whose answers are stored.")
    writes: tuple[Write, ...] | None = key(Forms(Write), "The methods that change what tags name.")


@dataclass
class Policy(Form):
    """The whole file."""

    version: Source | None = key(Text("1", "1"), "The version of this form: 1.", required=True)
    services: tuple[Service, ...] | None = key(Forms(Service), "The services that are cached.", required=True)
    events: tuple[Event, ...] | None = key(Forms(Event), "The events that invalidate.")


def read_policy(text: str, file: str) -> tuple[Policy, Document]:
    """The form of a file; the document has its mistakes so far. PolicyError where it is no YAML at all."""
    document = Document(text, file)
    return read_form(document, document.root, Policy, "policy"), document


def overridden(form: T, by: T) -> T:
    """A form with the keys that another one of its kind gives."""
    given = {name: getattr(by, name) for name, *_ in keys_of(type(by)) if getattr(by, name) is not None}
    more: dict[str, Any] = {**given, "places": {**form.places, **by.places}}
    return replace(form, **more)


__all__ = ["Event", "LookUp", "Policy", "Read", "Service", "UpstreamTls", "Write", "overridden", "read_policy"]
