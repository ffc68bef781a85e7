"""`Settings`: every setting of `serve`, declared once.

Each field is one setting. Its name is that of its environment variable in lower case, and its metadata holds default,
type and help. The flags, `serve --help` and docs/configuration.md are made from this declaration.
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
"""Maximum of CACHE_EVENT_WINDOW, in seconds."""
DEFAULT_NAMESPACE = "media"
DEFAULT_QUEUE_PREFIX = "api-gateway-media-cache"


def _setting(default: str, kind: SettingType, text: str) -> Any:
    """Declares one setting; `default` is written as in an environment variable, and `text` is the help."""
    return field(
        default=kind.parse(default),
        repr=not kind.secret,
        metadata={"default": default, "type": kind, "help": text},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The value of every setting of `serve`. Durations are seconds, sizes are bytes."""

    media_service_addr: str = _setting("localhost:50056", GrpcTarget(), "gRPC target of the media service.")
    policy: str = _setting(
        "",
        PolicyFile(),
        "Policy file: it says which methods of which services are cached, and where these services are "
        "(docs/policies.md). Empty: the built-in policy for the media service.",
    )
    listen_addr: str = _setting("127.0.0.1:50066", HostPort(), "Address on which the proxy accepts gRPC calls.")
    redis_addr: RedisTarget | None = _setting("localhost:6379", RedisAddr(), "Address of Redis. Empty: no caching.")
    sentinel_password: str = _setting(
        "",
        Secret(),
        "redis+sentinel: password of the Sentinels. Empty: if they require one, the master's credentials are used.",
    )
    cache_namespace: str = _setting(DEFAULT_NAMESPACE, Name(), "Prefix of every Redis key.")
    events_queue_prefix: str = _setting(
        "",
        Name(empty=True),
        "Prefix of the names of the proxy's two queues, PREFIX-uploaded and PREFIX-deleted. Empty: "
        "api-gateway-media-cache, with a dash and CACHE_NAMESPACE appended unless that has its default. "
        "api-gateway-media takes over the queues of a gateway's retired subscriber.",
    )
    rabbitmq_addr: tuple[str, ...] = _setting(
        "amqp://guest:guest@localhost:5672/",
        AmqpAddrs(),
        "URL of RabbitMQ, or several URLs for the nodes of a cluster. Empty: no media events are consumed.",
    )
    cache_ttl: float = _setting(
        "1h",
        Duration(_DAY),
        "Maximum time that an answer is served from the cache, counted from its fetch; then it is fetched again. "
        "0: nothing is cached. Together with the longer of the two stale allowances at most 24h.",
    )
    cache_ttl_without_events: float = _setting(
        "60s",
        Duration(_DAY),
        "Maximum time that an answer is served while RabbitMQ cannot be reached, counted from its fetch or from the "
        "loss of RabbitMQ, whichever is later; never longer than CACHE_TTL. Without RABBITMQ_ADDR it has no effect.",
    )
    cache_ttl_temporary_credentials: float = _setting(
        "5m",
        Duration(_DAY),
        "Maximum time that an answer is stored if a presigned URL in it carries a security token: such a URL expires "
        "with the session that signed it, and does not say when. 0: such answers are not stored.",
    )
    cache_event_window: float = _setting(
        "100ms",
        Duration(LONGEST_WINDOW),
        "Time after a media event during which no answer for its model is stored. It should exceed the delay until "
        "reads of the media service see a change. Above 100ms it also applies after writes through the proxy.",
    )
    cache_stale_if_error: float = _setting(
        "10m", Duration(_DAY), "How long an expired answer is still served while the media service cannot be reached."
    )
    cache_stale_while_revalidate: float = _setting(
        "0s", Duration(_DAY), "How long an expired answer is still served while a fresh one is being fetched."
    )
    cache_mode: str = _setting(
        "on",
        OneOf("on", "off", "shadow"),
        "on: serve from the cache; off: only forward calls; shadow: forward every call, but keep the cache up to date "
        "and count the cached answers that differ from the forwarded ones.",
    )
    cache_vary_metadata: tuple[str, ...] = _setting(
        "authorization", MetadataKeys(), "Request metadata keys whose values are part of the cache key."
    )
    cache_bypass_per_page: int = _setting(
        "100", Count(0, 2**31 - 1), "Reads whose per_page is this or more are never cached. 0: no such limit."
    )
    cache_max_entry_bytes: int = _setting(
        "1MiB",
        Count(1, 64 << 20, sizes=True),
        "Maximum size of a stored answer. Larger answers are passed on without being stored.",
    )
    call_timeout: float = _setting(
        "60s",
        Duration(),
        "Deadline of unary calls whose caller set none; an upload only has to arrive within it. 0: no deadline.",
    )
    max_concurrent_calls: int = _setting(
        "1000",
        Count(1, 1_000_000),
        "Maximum number of concurrent calls, of all callers together. Further calls get RESOURCE_EXHAUSTED.",
    )
    max_calls_per_connection: int = _setting(
        "250",
        Count(1, 1_000_000),
        "Maximum number of concurrent calls on one connection. Further calls wait in the caller's gRPC library.",
    )
    max_connections: int = _setting(
        "1000", Count(1, 1_000_000), "Maximum number of callers' connections. Further ones are closed when they arrive."
    )
    max_connection_age: float = _setting(
        "0s",
        Duration(_DAY),
        "Age at which a caller's connection is closed gracefully, so that it reconnects. 0: never.",
    )
    max_bytes_in_flight: int = _setting(
        "128MiB",
        Count(1 << 20, 1 << 40, sizes=True),
        "Maximum total size of the messages above 64 KiB that are in memory at the same time; uploads do not count. "
        "Calls whose message exceeds it get RESOURCE_EXHAUSTED.",
    )
    max_message_bytes: int = _setting(
        "64MiB",
        Count(1 << 20, (1 << 31) - 1, sizes=True),
        "Maximum size of a request message. Calls with a larger one get RESOURCE_EXHAUSTED.",
    )
    max_metadata_bytes: int = _setting(
        "64KiB",
        Count(8 << 10, 16 << 20, sizes=True),
        "Maximum size of a call's request metadata, where each entry counts 32 bytes more than its text. Calls with "
        "more get RESOURCE_EXHAUSTED.",
    )
    accept_compressed: str = _setting(
        "off",
        OneOf("off", "on"),
        "Whether compressed requests are accepted. off: they get UNIMPLEMENTED, since a few kB can decompress to "
        "MAX_MESSAGE_BYTES. (With TRANSPORT=grpcio, calls with an unknown grpc-encoding get INTERNAL.)",
    )
    old_cache_keys: str = _setting(
        "keep",
        OneOf("keep", "delete"),
        "delete: after each invalidation, also delete the keys that a gateway's own cache holds for the model "
        "(docs/migration.md). keep: leave them alone.",
    )
    drain_time: float = _setting(
        "20s", Duration(3600), "Maximum time from SIGTERM to the end. Calls that are then still in progress are cut."
    )
    probe_addr: str = _setting(
        "0.0.0.0:9464",
        HostPort(empty=True),
        "HTTP address of /healthz, /readyz and /metrics (read only). Empty: they are not served.",
    )
    admin_addr: str = _setting(
        "127.0.0.1:9901",
        HostPort(empty=True),
        "HTTP address of the admin page and of the commands for operators. Empty: they are not served.",
    )
    admin_token: str = _setting(
        "",
        Secret(),
        "Bearer token that ADMIN_ADDR requires. Prefer the variable to the flag, which process lists show.",
    )
    log_level: str = _setting("info", LOG_LEVEL, "Lowest level that is logged.")
    log_format: str = _setting("json", OneOf("json", "console"), "json: one object per line; console: for reading.")
    listen_tls_cert: str = _setting("", PemFile(), "The proxy's certificate, with intermediates. Empty: plaintext.")
    listen_tls_key: str = _setting("", PemFile(), "Private key of LISTEN_TLS_CERT, without a password.")
    listen_tls_client_ca: str = _setting("", PemFile(), "CAs for callers' certificates. Empty: none is required.")
    upstream_tls: str = _setting("off", OneOf("off", "on"), "Whether to use TLS with the media service.")
    upstream_tls_ca: str = _setting("", PemFile(), "CAs for the media service's certificate. Empty: the public ones.")
    upstream_tls_cert: str = _setting("", PemFile(), "The proxy's certificate, if the media service requires one.")
    upstream_tls_key: str = _setting("", PemFile(), "Private key of UPSTREAM_TLS_CERT, without a password.")
    upstream_tls_server_name: str = _setting(
        "", ServerName(), "Name expected in the media service's certificate. Empty: the host in MEDIA_SERVICE_ADDR."
    )
    redis_tls_ca: str = _setting("", PemFile(), "rediss: CAs for Redis' certificate. Empty: the system's.")
    redis_tls_cert: str = _setting("", PemFile(), "rediss: the proxy's certificate, if Redis requires one.")
    redis_tls_key: str = _setting("", PemFile(), "rediss: private key of REDIS_TLS_CERT, without a password.")
    redis_tls_server_name: str = _setting(
        "", ServerName(), "rediss: name expected in each server's certificate. Empty: the host connected to."
    )
    rabbitmq_tls_ca: str = _setting("", PemFile(), "amqps: CAs for RabbitMQ's certificate. Empty: the system's.")
    rabbitmq_tls_cert: str = _setting("", PemFile(), "amqps: the proxy's certificate, if RabbitMQ requires one.")
    rabbitmq_tls_key: str = _setting("", PemFile(), "amqps: private key of RABBITMQ_TLS_CERT, without a password.")
    rabbitmq_tls_server_name: str = _setting(
        "", ServerName(), "amqps: name expected in each server's certificate. Empty: the host in the URL."
    )
    transport: str = _setting(
        "grpcio",
        OneOf("grpcio", "envoy"),
        "What accepts calls: gRPC's own library, or Envoy, which needs the package's extra `envoy`.",
    )
    on_bad_settings: str = _setting(
        "exit",
        OneOf("exit", "forward"),
        "What `serve` does when a setting is wrong. exit: it ends with status 2; forward: it logs the error and "
        "forwards all calls uncached. Injected sidecars use forward, since an app does not start without its sidecar.",
    )
    unset_addrs: str = _setting(
        "default",
        OneOf("default", "none"),
        "What an unset REDIS_ADDR or RABBITMQ_ADDR means. default: its default; none: the same as empty, for pods "
        "whose Secret may be missing. With none, an unset MEDIA_SERVICE_ADDR is an error.",
    )

    def __post_init__(self) -> None:
        """Checks settings against each other; a SettingError names the variable, its value and what is accepted."""
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
        """The settings in effect by name, in the order of declaration, as text with credentials masked."""
        texts = {setting.name: setting.metadata["type"].text(getattr(self, setting.name)) for setting in fields(self)}
        return {**texts, "events_queue_prefix": self.queue_prefix}

    @property
    def redis(self) -> RedisTarget | None:
        """`REDIS_ADDR`; its Sentinels' password is `SENTINEL_PASSWORD` unless the address names one."""
        if self.redis_addr is None or self.redis_addr.sentinel_password:
            return self.redis_addr
        return replace(self.redis_addr, sentinel_password=self.sentinel_password)

    @property
    def queue_prefix(self) -> str:
        """`EVENTS_QUEUE_PREFIX`; by default each Redis namespace has its own prefix."""
        if self.events_queue_prefix:
            return self.events_queue_prefix
        if self.cache_namespace == DEFAULT_NAMESPACE:
            return DEFAULT_QUEUE_PREFIX
        return f"{DEFAULT_QUEUE_PREFIX}-{self.cache_namespace}"


def declared() -> tuple[Field[Any], ...]:
    """The settings in the order in which they are shown; `metadata` has the keys `default`, `type` and `help`."""
    return fields(Settings)


def variable(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return setting.name.upper()
