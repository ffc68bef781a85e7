"""`InjectorSettings`: the sidecar's defaults for pods, declared once and read from flags or the environment.

The flags of `webhook` and `inject` and the chart's `sidecar` values are made from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any

import click

from proxy import __version__
from proxy.injector.values import (
    AsText,
    CpuLimit,
    EnvList,
    EnvName,
    Image,
    MemoryLimit,
    MemoryRequest,
    PlainAddress,
    PullPolicy,
    Quantity,
    SecretKey,
    SecretRef,
    User,
    Words,
)
from proxy.settings.config import declared as serve_settings
from proxy.settings.config import variable as serve_variable
from proxy.settings.flags import option
from proxy.settings.setting_types import OneOf, SettingType, split_host_port

SERVE_TYPES: dict[str, SettingType] = {serve_variable(each): each.metadata["type"] for each in serve_settings()}
"""The types of serve's settings by variable, so that the sidecar's values are checked with the parser it uses."""

REDIS_SECRET = SecretRef("redis-addr")
RABBITMQ_SECRET = SecretRef("rabbitmq-addr")


_OURS = {
    "MEDIA_SERVICE_ADDR",
    "LISTEN_ADDR",
    "PROBE_ADDR",
    "ADMIN_ADDR",
    "REDIS_ADDR",
    "RABBITMQ_ADDR",
    "ON_BAD_SETTINGS",
    "UNSET_ADDRS",
}
_NOT_BETWEEN_US = "LISTEN_TLS_"
"""The app calls the sidecar without TLS, as it called the media service; and the sidecar has no certificate files."""


class ProbeHost(SettingType):
    """The host of PROBE_ADDR, which must not be loopback."""

    name = "host"
    accepted = "an address to listen on that the kubelet can reach: [::] (IPv4, too), or 0.0.0.0"

    def parse(self, text: str) -> str:
        if ip_address(split_host_port(f"{text}:1")[0]).is_loopback:
            raise ValueError(text)
        return text


def _setting(default: str, kind: SettingType, text: str) -> Any:
    """Declares one setting: its default as a person would write it, its type, its help."""
    return field(default=kind.parse(default), metadata={"default": default, "type": kind, "help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorSettings:
    """The defaults for pods that ask for the sidecar; a pod's annotations take precedence."""

    image: str = _setting(f"media-cache-proxy:{__version__}", Image(), "The sidecar's image.")
    image_pull_policy: str = _setting("IfNotPresent", PullPolicy(), "When the node pulls the image.")
    image_pull_secrets: tuple[str, ...] = _setting("", Words(), "Added to the pod's imagePullSecrets.")
    mode: str = _setting(
        "auto",
        OneOf("auto", "native", "container"),
        "native: an init container with restartPolicy Always; auto: native from Kubernetes 1.33 on.",
    )
    env: str = _setting("MEDIA_SERVICE_ADDR", EnvName(), "The app's variable that holds the media service's address.")
    redis_secret: SecretKey | None = _setting(
        "media-cache-proxy:redis-addr",
        REDIS_SECRET,
        "REDIS_ADDR's Secret in each pod's namespace: name or name:key. Empty: --sidecar-redis-addr.",
    )
    redis_addr: str = _setting("", PlainAddress(SERVE_TYPES["REDIS_ADDR"]), "REDIS_ADDR, if there is no Secret.")
    rabbitmq_secret: SecretKey | None = _setting(
        "media-cache-proxy:rabbitmq-addr",
        RABBITMQ_SECRET,
        "RABBITMQ_ADDR's Secret in each pod's namespace: name or name:key. Empty: --sidecar-rabbitmq-addr.",
    )
    rabbitmq_addr: str = _setting(
        "", PlainAddress(SERVE_TYPES["RABBITMQ_ADDR"]), "RABBITMQ_ADDR, if there is no Secret."
    )
    cache_ttl: str = _setting("", AsText(SERVE_TYPES["CACHE_TTL"], empty=True), "CACHE_TTL. Empty: serve's default.")
    log_level: str = _setting("", AsText(SERVE_TYPES["LOG_LEVEL"], empty=True), "LOG_LEVEL. Empty: serve's default.")
    cpu_request: str = _setting("50m", Quantity(), "CPU that the sidecar asks for.")
    cpu_limit: str = _setting("", CpuLimit(empty=True), "CPU that the sidecar may use. Empty: no limit.")
    memory_request: str = _setting("128Mi", MemoryRequest(), "Memory that the sidecar asks for.")
    memory_limit: str = _setting("512Mi", MemoryLimit(empty=True), "Memory that the sidecar may use. Empty: no limit.")
    run_as_user: int | None = _setting("65532", User(), "The sidecar's user. Empty: the image's own.")
    probe_host: str = _setting("[::]", ProbeHost(), "Where the sidecar's probes and metrics listen; [::]: IPv4, too.")
    extra_env: tuple[dict[str, Any], ...] = _setting("", EnvList(), "More of the sidecar's environment, as JSON.")

    def __post_init__(self) -> None:
        """Checks the settings against each other; raises ValueError, which says which are wrong and why."""
        for name in ("redis", "rabbitmq"):
            if getattr(self, f"{name}_secret") and getattr(self, f"{name}_addr"):
                raise ValueError(
                    f"{name.upper()}_ADDR: both a Secret and a plain address are given; leave one of them empty"
                )
        for name in ("cpu", "memory"):
            request, limit = getattr(self, f"{name}_request"), getattr(self, f"{name}_limit")
            if limit and Quantity.amount(limit) < Quantity.amount(request):
                raise ValueError(
                    f"SIDECAR_{name.upper()}_LIMIT: {limit!r} is below SIDECAR_{name.upper()}_REQUEST of {request!r}; "
                    "accepted: a limit that is not below the request, or none"
                )
        for entry in self.extra_env:
            if entry["name"] in _OURS:
                raise ValueError(f"extra env: {entry['name']} is set by the injector itself; remove it")
            if entry["name"].startswith(_NOT_BETWEEN_US):
                raise ValueError(
                    f"extra env: {entry['name']}: its callers are in the same pod and reach it without TLS; remove it"
                )
            if entry["name"] in SERVE_TYPES and entry.get("value", "").strip() and "$(" not in entry["value"]:
                try:
                    SERVE_TYPES[entry["name"]].convert(entry["value"], None, None)
                except click.BadParameter as error:
                    raise ValueError(f"extra env: {entry['name']}: {error.message}") from None


def options() -> Iterator[click.Parameter]:
    """One flag for each setting, with its environment variable SIDECAR_*."""
    for setting in fields(InjectorSettings):
        yield option(setting, "sidecar_")


def from_flags(values: dict[str, Any]) -> InjectorSettings:
    """The settings from click's values; raises click.UsageError if they contradict each other."""
    try:
        return InjectorSettings(**{each.name: values[f"sidecar_{each.name}"] for each in fields(InjectorSettings)})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
