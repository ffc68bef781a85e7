"""The settings: declared here once, and read from the environment or from flags.

`Settings` is the declaration: each field is one setting, named as its environment variable in lower case, with its
default, type and help. Defaults, `serve --help`, docs/configuration.md and the chart's values come from it.
"""

from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from proxy.errors import SettingError
from proxy.settings.own_address import leads_back
from proxy.settings.policy_file import PolicyFile
from proxy.settings.secret_type import Secret
from proxy.settings.setting_types import (
    LOG_LEVEL,
    AmqpAddrs,
    Count,
    Duration,
    GrpcTarget,
    HostPort,
    MetadataKeys,
    Name,
    OneOf,
    RedisAddr,
    RedisTarget,
    SettingType,
)
from proxy.settings.tls_rules import PemFile, ServerName, contradiction
from proxy.settings.vary_rules import withheld

_DAY = 86400.0
LONGEST_WINDOW = 60.0
"""The most that CACHE_EVENT_WINDOW may be, in seconds."""
DEFAULT_NAMESPACE = "media"
DEFAULT_QUEUE_PREFIX = "api-gateway-media-cache"


def _setting(default: str, kind: SettingType, text: str) -> Any:
    """One setting: its default as a person would write it, its type, its help."""
    return field(
        default=kind.parse(default),
        repr=not kind.secret,
        metadata={"default": default, "type": kind, "help": text},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of `serve`, already understood."""

    media_service_addr: str = _setting("localhost:50056", GrpcTarget(), "The real media service.")
    policy: str = _setting(
        "",
        PolicyFile(),
        "The policy file: which methods of which services are cached, and where these services are (docs/policies.md). "
        "Empty: the built-in policy, of the media service.",
    )
    listen_addr: str = _setting("127.0.0.1:50066", HostPort(), "Where callers connect (gRPC).")
    redis_addr: RedisTarget | None = _setting("localhost:6379", RedisAddr(), "Redis; empty: no cache, forward only.")
    sentinel_password: str = _setting(
        "",
        Secret(),
        "redis+sentinel: the Sentinels' own password. Empty: none, or the master's credentials if they require some.",
    )
    cache_namespace: str = _setting(DEFAULT_NAMESPACE, Name(), "Prefix of every Redis key.")
    events_queue_prefix: str = _setting(
        "",
        Name(empty=True),
        "Prefix of the proxy's queues, before -uploaded and -deleted. Empty: api-gateway-media-cache and the namespace "
        "if that is not the default. api-gateway-media takes over the queues of a gateway's retired subscriber.",
    )
    rabbitmq_addr: tuple[str, ...] = _setting(
        "amqp://guest:guest@localhost:5672/",
        AmqpAddrs(),
        "RabbitMQ: one URL, or several for the nodes of a cluster. Empty: no events.",
    )
    cache_ttl: float = _setting(
        "1h",
        Duration(_DAY),
        "How long an answer is served from the cache. 0: no caching. Together with the stale allowance at most 24h.",
    )
    cache_ttl_without_events: float = _setting(
        "60s",
        Duration(_DAY),
        "How long an answer is served while RabbitMQ is lost or was never reached, counted from its fetch or from the "
        "loss, whichever is later; never longer than CACHE_TTL. Without RABBITMQ_ADDR it has no effect.",
    )
    cache_ttl_temporary_credentials: float = _setting(
        "5m",
        Duration(_DAY),
        "Maximum time that an answer is stored if a presigned URL in it carries a security token: such a URL expires "
        "with the session that signed it, and does not say when that is. 0: it is not stored.",
    )
    cache_event_window: float = _setting(
        "100ms",
        Duration(LONGEST_WINDOW),
        "Time after a media event in which no answer of its model is stored; it should exceed the delay after which "
        "reads of the media service see a change. Above 100ms it also applies after writes through the proxy.",
    )
    cache_stale_if_error: float = _setting(
        "10m", Duration(_DAY), "How long an expired answer is still served while the media service is away."
    )
    cache_stale_while_revalidate: float = _setting(
        "0s", Duration(_DAY), "How long an expired answer is still served while a fresh one is fetched."
    )
    cache_mode: str = _setting(
        "on",
        OneOf("on", "off", "shadow"),
        "on; off: forward only; shadow: forward every call, keep the cache, and count the answers that differ.",
    )
    cache_vary_metadata: tuple[str, ...] = _setting(
        "authorization", MetadataKeys(), "Request metadata that tells callers apart; it is part of the cache key."
    )
    cache_bypass_per_page: int = _setting(
        "100", Count(0, 2**31 - 1), "Reads with this per_page or more are never cached. 0: no limit."
    )
    cache_max_entry_bytes: int = _setting(
        "1MiB",
        Count(1, 64 << 20, sizes=True),
        "Maximum size of a stored answer. Larger ones are passed on without being stored.",
    )
    call_timeout: float = _setting(
        "60s",
        Duration(),
        "Deadline of unary calls whose caller set none; for an upload, the time until it has arrived. 0: none.",
    )
    max_concurrent_calls: int = _setting(
        "1000",
        Count(1, 1_000_000),
        "Maximum number of concurrent calls of all callers. Further ones get RESOURCE_EXHAUSTED.",
    )
    max_calls_per_connection: int = _setting(
        "250",
        Count(1, 1_000_000),
        "Maximum number of concurrent calls on one connection. Further ones wait at the caller.",
    )
    max_connections: int = _setting(
        "1000", Count(1, 1_000_000), "Maximum number of callers' connections. Further ones are closed on arrival."
    )
    max_connection_age: float = _setting(
        "0s",
        Duration(_DAY),
        "Age at which a caller's connection is closed gracefully, so that it reconnects. 0: never.",
    )
    max_bytes_in_flight: int = _setting(
        "128MiB",
        Count(1 << 20, 1 << 40, sizes=True),
        "Maximum bytes held at once of messages above 64 KiB, uploads excepted. Further ones get RESOURCE_EXHAUSTED.",
    )
    max_message_bytes: int = _setting(
        "64MiB",
        Count(1 << 20, (1 << 31) - 1, sizes=True),
        "Maximum size of a request message. Larger ones get RESOURCE_EXHAUSTED.",
    )
    max_metadata_bytes: int = _setting(
        "64KiB",
        Count(8 << 10, 16 << 20, sizes=True),
        "Maximum size of a call's request metadata, plus 32 bytes an entry. Calls with more get RESOURCE_EXHAUSTED.",
    )
    accept_compressed: str = _setting(
        "off",
        OneOf("off", "on"),
        "Whether compressed requests are accepted. off: they get UNIMPLEMENTED, since a few kB can decompress to "
        "MAX_MESSAGE_BYTES. (With TRANSPORT=grpcio, an unknown grpc-encoding gets INTERNAL.)",
    )
    old_cache_keys: str = _setting(
        "keep",
        OneOf("keep", "delete"),
        "delete: remove a gateway's own cached keys after each invalidation, see docs/migration.md.",
    )
    drain_time: float = _setting(
        "20s", Duration(3600), "Maximum time between SIGTERM and the end. Calls still in progress then are cut."
    )
    probe_addr: str = _setting(
        "0.0.0.0:9464",
        HostPort(empty=True),
        "Address of /healthz, /readyz and /metrics (HTTP, read only). Empty: none.",
    )
    admin_addr: str = _setting(
        "127.0.0.1:9901",
        HostPort(empty=True),
        "Address of the admin page and the commands for operators (HTTP). Empty: none.",
    )
    admin_token: str = _setting(
        "",
        Secret(),
        "Bearer token that ADMIN_ADDR requires. Prefer the variable: process lists show flags.",
    )
    log_level: str = _setting("info", LOG_LEVEL, "The least severe level that is logged.")
    log_format: str = _setting("json", OneOf("json", "console"), "json: one object a line; console: for reading.")
    listen_tls_cert: str = _setting("", PemFile(), "The proxy's certificate, with intermediates. Empty: plaintext.")
    listen_tls_key: str = _setting("", PemFile(), "Private key of LISTEN_TLS_CERT, without a password.")
    listen_tls_client_ca: str = _setting("", PemFile(), "CAs for callers' certificates. Empty: callers need none.")
    upstream_tls: str = _setting("off", OneOf("off", "on"), "Whether to use TLS with the media service.")
    upstream_tls_ca: str = _setting("", PemFile(), "CAs for the media service's certificate. Empty: the public ones.")
    upstream_tls_cert: str = _setting("", PemFile(), "The proxy's certificate, if the media service requires one.")
    upstream_tls_key: str = _setting("", PemFile(), "Private key of UPSTREAM_TLS_CERT, without a password.")
    upstream_tls_server_name: str = _setting(
        "", ServerName(), "Name in its certificate. Empty: the one in MEDIA_SERVICE_ADDR."
    )
    redis_tls_ca: str = _setting("", PemFile(), "rediss: CAs for Redis' certificate. Empty: the system's.")
    redis_tls_cert: str = _setting("", PemFile(), "rediss: the proxy's certificate, if Redis requires one.")
    redis_tls_key: str = _setting("", PemFile(), "rediss: private key of REDIS_TLS_CERT, without a password.")
    redis_tls_server_name: str = _setting(
        "", ServerName(), "rediss: name in each certificate. Empty: the address connected to."
    )
    rabbitmq_tls_ca: str = _setting("", PemFile(), "amqps: CAs for RabbitMQ's certificate. Empty: the system's.")
    rabbitmq_tls_cert: str = _setting("", PemFile(), "amqps: the proxy's certificate, if RabbitMQ requires one.")
    rabbitmq_tls_key: str = _setting("", PemFile(), "amqps: private key of RABBITMQ_TLS_CERT, without a password.")
    rabbitmq_tls_server_name: str = _setting(
        "", ServerName(), "amqps: name in each certificate. Empty: the one in the URL."
    )
    transport: str = _setting(
        "grpcio",
        OneOf("grpcio", "envoy"),
        "What serves callers: gRPC's own library, or Envoy, which needs the extra envoy.",
    )
    on_bad_settings: str = _setting(
        "exit",
        OneOf("exit", "forward"),
        "What `serve` does when a setting is wrong. exit: it ends with status 2; forward: it forwards all calls "
        "uncached and logs it, as injected sidecars must: without the sidecar the app would not start.",
    )
    unset_addrs: str = _setting(
        "default",
        OneOf("default", "none"),
        "What an unset REDIS_ADDR or RABBITMQ_ADDR means. default: its default; none: the same as empty, for pods "
        "whose Secret may be missing; an unset MEDIA_SERVICE_ADDR is then a wrong one.",
    )

    def __post_init__(self) -> None:
        """Checks between settings; SettingError is a line that names the variable, what was given and what to do."""
        name, stale = max(
            ("CACHE_STALE_IF_ERROR", self.cache_stale_if_error),
            ("CACHE_STALE_WHILE_REVALIDATE", self.cache_stale_while_revalidate),
            key=lambda allowance: allowance[1],
        )
        if self.cache_ttl + stale > _DAY:
            shown = Duration().text
            raise SettingError(
                f"CACHE_TTL: {shown(self.cache_ttl)!r} with {name} of {shown(stale)!r} is more than 24h; accepted: "
                f"together at most 24h: lower CACHE_TTL to {shown(_DAY - stale)}, or {name} to "
                f"{shown(max(_DAY - self.cache_ttl, 0.0))}"
            )
        if leads_back(self.media_service_addr, self.listen_addr):
            raise SettingError(
                f"MEDIA_SERVICE_ADDR: {self.media_service_addr!r} is this proxy's own LISTEN_ADDR "
                f"({self.listen_addr}); accepted: the address of the real media service"
            )
        if withheld_name := withheld(self.cache_vary_metadata, self.transport):
            raise SettingError(withheld_name)
        if wrong := contradiction(
            {variable(setting): getattr(self, setting.name) for setting in fields(self) if "_tls" in setting.name},
            self.redis_addr.url if self.redis_addr else "",
            self.rabbitmq_addr,
        ):
            raise SettingError(wrong)

    def shown(self) -> dict[str, str]:
        """Each setting in effect as text for a person, by name, in the order of declaration; credentials masked."""
        texts = {setting.name: setting.metadata["type"].text(getattr(self, setting.name)) for setting in fields(self)}
        return {**texts, "events_queue_prefix": self.queue_prefix}

    @property
    def redis(self) -> RedisTarget | None:
        """`REDIS_ADDR`, with the Sentinels' password where it has none itself."""
        if self.redis_addr is None or self.redis_addr.sentinel_password:
            return self.redis_addr
        return replace(self.redis_addr, sentinel_password=self.sentinel_password)

    @property
    def queue_prefix(self) -> str:
        """`EVENTS_QUEUE_PREFIX` with its default worked out: one pair of queues per Redis namespace."""
        if self.events_queue_prefix:
            return self.events_queue_prefix
        if self.cache_namespace == DEFAULT_NAMESPACE:
            return DEFAULT_QUEUE_PREFIX
        return f"{DEFAULT_QUEUE_PREFIX}-{self.cache_namespace}"


def declared() -> tuple[Field[Any], ...]:
    """The settings in the order to show them; `metadata` holds default, type and help."""
    return fields(Settings)


def variable(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return setting.name.upper()
