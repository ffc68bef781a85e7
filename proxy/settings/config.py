"""The settings: declared once here, read from the environment or from flags, by nobody else.

`Settings` is the declaration: each field is one setting, named as its environment variable in lower case, with its
default, type and help. Defaults, `serve --help`, docs/configuration.md and the chart's values come from it.
"""

from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from proxy.errors import SettingError
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
    split_host_port,
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
        "redis+sentinel: the Sentinels' own. Empty: none, or the master's credentials where they ask for some.",
    )
    cache_namespace: str = _setting(DEFAULT_NAMESPACE, Name(), "Prefix of every Redis key.")
    events_queue_prefix: str = _setting(
        "",
        Name(empty=True),
        "Our queues are this with -uploaded and -deleted. Empty: api-gateway-media-cache, followed by the namespace "
        "where that is not the default. api-gateway-media takes over the queues of a retired in-process subscriber.",
    )
    rabbitmq_addr: tuple[str, ...] = _setting(
        "amqp://guest:guest@localhost:5672/", AmqpAddrs(), "RabbitMQ, several URLs for a cluster; empty: no events."
    )
    cache_ttl: float = _setting(
        "1h", Duration(_DAY), "How long an answer is served; 0: no caching. With the stale allowance at most 24h."
    )
    cache_ttl_without_events: float = _setting(
        "60s",
        Duration(_DAY),
        "How long an answer is served while RabbitMQ is lost or was never reached, from its fetch or from the loss, "
        "whichever was later; never longer than CACHE_TTL. Without RABBITMQ_ADDR it has no effect.",
    )
    cache_ttl_temporary_credentials: float = _setting(
        "5m",
        Duration(_DAY),
        "How long an answer is kept in which a presigned URL carries a security token: it dies with the session that "
        "signed it, and no URL says when that is.",
    )
    cache_event_window: float = _setting(
        "100ms",
        Duration(LONGEST_WINDOW),
        "For so long after a media event nothing is stored of its model: how much later than its event a change may be "
        "seen by reads of the media service. Above 100ms it also holds after writes through the proxy.",
    )
    cache_stale_if_error: float = _setting(
        "10m", Duration(_DAY), "How long past its time an answer may stand in while the media service is away."
    )
    cache_stale_while_revalidate: float = _setting(
        "0s", Duration(_DAY), "How long past its time an answer may be served while a fresh one is fetched."
    )
    cache_mode: str = _setting(
        "on",
        OneOf("on", "off", "shadow"),
        "on; off: forward only; shadow: forward always, keep the cache, count where it would have differed.",
    )
    cache_vary_metadata: tuple[str, ...] = _setting(
        "authorization", MetadataKeys(), "Request metadata that tells callers apart: part of the cache key."
    )
    cache_bypass_per_page: int = _setting(
        "100", Count(0, 2**31 - 1), "Reads with this per_page or more are never cached; 0: no such limit."
    )
    cache_max_entry_bytes: int = _setting(
        "1MiB", Count(1, 64 << 20, sizes=True), "Larger answers are forwarded, not stored."
    )
    call_timeout: float = _setting(
        "60s",
        Duration(),
        "Deadline for unary calls whose caller set none; of an upload, until it has arrived. 0: none for any.",
    )
    max_concurrent_calls: int = _setting("1000", Count(1, 1_000_000), "More calls at once are RESOURCE_EXHAUSTED.")
    max_calls_per_connection: int = _setting(
        "250", Count(1, 1_000_000), "More calls at once on one connection wait at their caller."
    )
    max_connections: int = _setting("1000", Count(1, 1_000_000), "More connections of callers are closed as they come.")
    max_connection_age: float = _setting("0s", Duration(_DAY), "When callers are asked to connect anew. 0: never.")
    max_bytes_in_flight: int = _setting(
        "128MiB",
        Count(1 << 20, 1 << 40, sizes=True),
        "Messages above 64 KiB, uploads not counted, that are held at once; more are answered RESOURCE_EXHAUSTED.",
    )
    max_message_bytes: int = _setting(
        "64MiB", Count(1 << 20, (1 << 31) - 1, sizes=True), "Larger request messages are answered RESOURCE_EXHAUSTED."
    )
    max_metadata_bytes: int = _setting(
        "64KiB",
        Count(8 << 10, 16 << 20, sizes=True),
        "More request metadata, counted with 32 bytes for each entry, is answered RESOURCE_EXHAUSTED.",
    )
    accept_compressed: str = _setting(
        "off",
        OneOf("off", "on"),
        "Compressed request messages; off: answered UNIMPLEMENTED, since some kB of them can become MAX_MESSAGE_BYTES. "
        "(A grpc-encoding that gRPC's library does not know is INTERNAL with TRANSPORT=grpcio.)",
    )
    old_cache_keys: str = _setting("keep", OneOf("keep", "delete"), "A gateway's own cached keys: see migration.md.")
    drain_time: float = _setting("20s", Duration(3600), "After SIGTERM, at most this long until calls are cut.")
    probe_addr: str = _setting(
        "0.0.0.0:9464", HostPort(empty=True), "HTTP, read only: /healthz, /readyz, /metrics. Empty: none."
    )
    admin_addr: str = _setting(
        "127.0.0.1:9901", HostPort(empty=True), "HTTP, for operators: stats, look-up, purge, page. Empty: none."
    )
    admin_token: str = _setting(
        "",
        Secret(),
        "Bearer token that ADMIN_ADDR asks for. Better a variable than a flag, which every process list shows.",
    )
    log_level: str = _setting("info", LOG_LEVEL, "The least severe lines shown.")
    log_format: str = _setting("json", OneOf("json", "console"), "json: one object a line; console: for people.")
    listen_tls_cert: str = _setting(
        "", PemFile(), "Certificate, with its intermediates, that callers are shown. Empty: plaintext."
    )
    listen_tls_key: str = _setting("", PemFile(), "Private key of LISTEN_TLS_CERT, not encrypted.")
    listen_tls_client_ca: str = _setting(
        "", PemFile(), "CAs that callers' certificates must come from. Empty: callers need none."
    )
    upstream_tls: str = _setting("off", OneOf("off", "on"), "Whether the media service is reached over TLS.")
    upstream_tls_ca: str = _setting("", PemFile(), "CAs to trust its certificate by. Empty: the public ones.")
    upstream_tls_cert: str = _setting("", PemFile(), "Our certificate for it, where it asks for one.")
    upstream_tls_key: str = _setting("", PemFile(), "Private key of UPSTREAM_TLS_CERT, not encrypted.")
    upstream_tls_server_name: str = _setting(
        "", ServerName(), "Name that its certificate must have. Empty: the one in MEDIA_SERVICE_ADDR."
    )
    redis_tls_ca: str = _setting("", PemFile(), "rediss: CAs to trust its certificate by. Empty: the system's.")
    redis_tls_cert: str = _setting("", PemFile(), "rediss: our certificate, where it asks for one.")
    redis_tls_key: str = _setting("", PemFile(), "rediss: private key of REDIS_TLS_CERT, not encrypted.")
    redis_tls_server_name: str = _setting(
        "", ServerName(), "rediss: name that every certificate must have. Empty: the address connected to."
    )
    rabbitmq_tls_ca: str = _setting("", PemFile(), "amqps: CAs to trust its certificate by. Empty: the system's.")
    rabbitmq_tls_cert: str = _setting("", PemFile(), "amqps: our certificate, where it asks for one.")
    rabbitmq_tls_key: str = _setting("", PemFile(), "amqps: private key of RABBITMQ_TLS_CERT, not encrypted.")
    rabbitmq_tls_server_name: str = _setting(
        "", ServerName(), "amqps: name that every certificate must have. Empty: the one in the URL."
    )
    transport: str = _setting(
        "grpcio", OneOf("grpcio", "envoy"), "What serves callers; envoy needs the extra of that name."
    )
    on_bad_settings: str = _setting(
        "exit",
        OneOf("exit", "forward"),
        "What `serve` does when a setting is wrong. exit: it ends with status 2; forward: it forwards uncached, and "
        "says so. An injected sidecar must: its end would keep the app beside it from starting.",
    )
    unset_addrs: str = _setting(
        "default",
        OneOf("default", "none"),
        "What REDIS_ADDR and RABBITMQ_ADDR are where they are not set; none: as if they were empty, for pods whose "
        "Secret may be missing.",
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
        if _is_own_address(self.media_service_addr, self.listen_addr):
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


def _is_own_address(target: str, listen: str) -> bool:
    """Whether calls sent to `target` would surely come back to the listener: an endless loop."""
    try:
        host, port = split_host_port(target.rpartition("/")[2])
    except ValueError:  # a unix socket, a list of addresses, a name without port
        return False
    own_host, own_port = split_host_port(listen)
    local = {"localhost", "127.0.0.1", "::1"}
    return port == own_port and (host == own_host or (host in local and own_host in {*local, "0.0.0.0", "::"}))  # noqa: S104 -- compared, not bound


def declared() -> tuple[Field[Any], ...]:
    """The settings in the order to show them; `metadata` holds default, type and help."""
    return fields(Settings)


def variable(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return setting.name.upper()
