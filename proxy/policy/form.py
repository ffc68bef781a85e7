"""The forms of a policy file: each key is declared once, with its kind and its help.

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
"""The statuses that a service returns to every caller for the same request. Others depend on the time or the caller."""
JSON_BODIES = ("json", "envelope")
_key = key
"""Another name for `key`, for a form that has a key called `key`."""

T = TypeVar("T", bound=Form)


@dataclass
class LookUp(Form):
    """`look_up`: another method of the service that says which tags a write changes."""

    method: Source | None = key(_METHOD, "The method to call, with the caller's metadata.", required=True)
    request: Source | None = key(
        EXPRESSION,
        "On the write's `request`: the message to call it with, like `shop.GetByID{id: request.id}`.",
        required=True,
    )
    invalidates: Source | None = key(
        EXPRESSION, "On the called method's `request` and `response`: a list of tags.", required=True
    )
    log: dict[str, Source] | None = key(Named(EXPRESSION), "On `response`: more fields for the write's log line.")


@dataclass
class Read(Form):
    """A read: a method whose answers are stored, each under one tag."""

    method: Source | None = key(_METHOD, "The method's name. It must be unary.", required=True)
    tag: Source | None = key(
        EXPRESSION, "On `request`: the tag under which the answer is stored. Required, except for built-in reads."
    )
    ttl: float | None = key(Value(Duration(_DAY)), "How long an answer is served; default: CACHE_TTL.")
    store: Source | None = key(
        EXPRESSION, "On `request` and `response`: whether the answer is stored; default: every OK answer."
    )
    bypass: Source | None = key(
        EXPRESSION, "On `request`: whether the read bypasses the cache: it is forwarded, and its answer is not stored."
    )
    further_tags: Source | None = key(
        EXPRESSION,
        "On `request` and `response`: a list of further tags; invalidating any of them removes the answer too. An "
        "answer with more than 64 is not stored.",
    )
    aliases: Source | None = key(
        EXPRESSION, "On `request` and `response`: a list of other names for the tag, for writes that do not name it."
    )
    presigned_urls: Source | None = key(
        EXPRESSION,
        "On `response`: a list of the presigned URLs in it. The answer is never served after one of them has expired, "
        "and shadow mode compares them without their signatures.",
    )
    vary: tuple[str, ...] | None = key(
        Words(MetadataKeys()), "Request metadata that tells callers apart; default: CACHE_VARY_METADATA."
    )
    metadata: Source | None = key(
        Text("keyed, all", "keyed|all"),
        "Which of the caller's metadata is sent upstream with a read whose answer may be stored. keyed: `vary`, "
        "tracing headers and `propagate`; all: everything.",
    )
    propagate: tuple[str, ...] | None = key(
        Words(MetadataKeys()),
        "More metadata to send upstream with `keyed`. It is not in the key: answers are shared across its values.",
    )
    max_entry_bytes: int | None = key(
        Value(Count(1, 64 << 20, sizes=True)), "Larger answers are not stored; default: CACHE_MAX_ENTRY_BYTES."
    )
    stale_if_error: float | None = key(
        Value(Duration(_DAY)),
        "How long after its TTL an answer may be served if the service is unavailable; default: CACHE_STALE_IF_ERROR.",
    )
    stale_while_revalidate: float | None = key(
        Value(Duration(_DAY)),
        "How long after its TTL an answer may be served while a fresh one is fetched; "
        "default: CACHE_STALE_WHILE_REVALIDATE.",
    )
    negative_ttl: dict[str, float] | None = key(
        Named(Value(Duration(_DAY)), ", ".join(STORABLE), "|".join(STORABLE)),
        "How long each status other than OK is stored, like {NOT_FOUND: 30s}; default: none is stored.",
    )
    ttl_with_further_tags: float | None = key(
        Value(Duration(_DAY)),
        "The longest time that an answer with further tags is kept if Redis may evict keys or is a Cluster of several "
        "masters; default: 5m.",
    )
    subject: Source | None = key(EXPRESSION, "On `request`: the name of the answer in log lines; default: the method.")
    log: dict[str, Source] | None = key(
        Named(EXPRESSION), "On `request`: the fields of its log lines; default: the tag."
    )


@dataclass
class Write(Form):
    """A write: a method that changes what tags name. Its callers read their own writes."""

    method: Source | None = key(_METHOD, "The method's name. It must be unary.", required=True)
    invalidates: Source | None = key(EXPRESSION, "On `request`: a list of the tags that it changes.")
    alias: Source | None = key(
        EXPRESSION, "On `request`: an alias of the tag that it changes; an empty text means none."
    )
    look_up: LookUp | None = key(Inner(LookUp), "How to find the tag if no stored answer has contained the alias yet.")
    succeeded: Source | None = key(
        EXPRESSION,
        "On `response`: whether an OK answer means that something changed; default: true. Used if no tag is known.",
    )
    announced: bool | None = key(
        Flag(),
        "true: an event of this policy follows each successful write. If none comes, answers are trusted only for "
        "CACHE_TTL_WITHOUT_EVENTS.",
    )
    flush_reason: Source | None = key(
        Text(),
        "The reason to log when a write that changed something names no tag, so the service's answers are flushed.",
    )
    large: bool | None = key(
        Flag(), "true: requests may have up to 50 MiB. They share a separate memory budget, and wait for it."
    )
    subject: Source | None = key(
        EXPRESSION, "On `request`: the name in log lines of what it changes; default: the method."
    )
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
        Several(_ROUTING_KEY), "The routing keys to bind; * and # mean what they mean in AMQP.", required=True
    )
    queue: Source | None = key(
        _QUEUE,
        "The end of the queue's name, after EVENTS_QUEUE_PREFIX; default: the exchange and the first routing key.",
    )
    body: Source | None = key(
        Text("json, envelope, or the full name of a message type", _TYPE),
        "The form of the body. json: an object; envelope: an object whose `data` contains it, in base64 or not; or the "
        "type of a protobuf message. Default: json.",
    )
    message_of: Source | None = key(
        _SERVICE, "The service whose descriptors contain the message type; default: the first one that has it."
    )
    fields: dict[str, Source] | None = key(
        Named(_FIELD),
        "The fields of `event`, from a JSON body. A message that lacks one is malformed; with ? it is empty or 0.",
    )
    invalidates: Source | None = key(EXPRESSION, "On `event`: a list of tags.", required=True)
    unreadable: Source | None = key(
        Text("drop, flush", "drop|flush"),
        "What happens if the tags cannot be determined. flush (default): flush stored answers; drop: only log it.",
    )
    service: Source | None = key(
        _SERVICE,
        "The service whose stored answers are flushed if the tags cannot be determined; default: all services.",
    )
    subject: Source | None = key(
        EXPRESSION, "On `event`: the name in log lines of what changed; default: the routing key."
    )
    log: dict[str, Source] | None = key(
        Named(EXPRESSION), "On `event`: the fields of its log lines; default: the tags."
    )


@dataclass
class UpstreamTls(Form):
    """`upstream_tls`: how the service is reached."""

    mode: Source | None = _key(Text("on, off", "on|off"), "off: plaintext, whatever UPSTREAM_TLS says. Default: on.")
    ca: str | None = _key(
        Value(PemFile()), "The CAs that sign its certificate, relative to the policy; default: the public CAs."
    )
    cert: str | None = _key(Value(PemFile()), "The client certificate, if the service asks for one.")
    key: str | None = _key(Value(PemFile()), "The private key of `cert`, not encrypted.")
    server_name: str | None = _key(
        Value(ServerName()), "The name that its certificate must have; default: the host in `upstream`."
    )


@dataclass
class Service(Form):
    """A gRPC service, its reads and its writes."""

    name: Source | None = key(_SERVICE, "The service's full name.", required=True)
    builtin: bool | None = key(
        Flag(), "true: include what the built-in policy says about this service; keys given here override it."
    )
    upstream: str | None = key(Value(GrpcTarget()), "The service's address; default: MEDIA_SERVICE_ADDR.")
    upstream_tls: UpstreamTls | None = key(
        Inner(UpstreamTls), "TLS settings of this service; default: UPSTREAM_TLS and UPSTREAM_TLS_*."
    )
    address_variable: Source | None = key(
        Text("the name of an environment variable", "[A-Z_][A-Z0-9_]*"),
        "The variable in which callers keep the service's address. The injector points it at the sidecar and gives its "
        "original value to the proxy, where it takes precedence over `upstream`.",
    )
    descriptors: Source | None = key(
        Text("the path of a FileDescriptorSet beside the policy, or reflection"),
        "Where the descriptors are: a file written by protoc or buf, or `reflection`.",
    )
    reads: tuple[Read, ...] | None = key(Forms(Read), "The methods whose answers are stored.")
    writes: tuple[Write, ...] | None = key(Forms(Write), "The methods that change what tags name.")


@dataclass
class Policy(Form):
    """The whole file."""

    version: Source | None = key(Text("1", "1"), "The version of this format: 1.", required=True)
    services: tuple[Service, ...] | None = key(Forms(Service), "The services that are cached.", required=True)
    events: tuple[Event, ...] | None = key(Forms(Event), "The events that invalidate.")


def read_policy(text: str, file: str) -> tuple[Policy, Document]:
    """The form of a file, and its document with the mistakes found so far; raises PolicyError if it is not YAML."""
    document = Document(text, file)
    return read_form(document, document.root, Policy, "policy"), document


def overridden(form: T, by: T) -> T:
    """A copy of a form in which the keys that `by` gives replace its own."""
    given = {name: getattr(by, name) for name, *_ in keys_of(type(by)) if getattr(by, name) is not None}
    more: dict[str, Any] = {**given, "places": {**form.places, **by.places}}
    return replace(form, **more)


__all__ = ["Event", "LookUp", "Policy", "Read", "Service", "UpstreamTls", "Write", "overridden", "read_policy"]
