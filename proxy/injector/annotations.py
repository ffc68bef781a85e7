"""`Wishes`: the annotations of a pod under our prefix, each declared once and checked by its type."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import click

from proxy.injector.names import PREFIX, STATUS
from proxy.injector.refusal import Refused, annotation, nearest
from proxy.injector.settings import RABBITMQ_SECRET, REDIS_SECRET, SERVE_TYPES
from proxy.injector.values import (
    PORT,
    AsText,
    ConfigMapKey,
    ConfigMapRef,
    ContainerNames,
    CpuLimit,
    EnvName,
    MemoryLimit,
    MemoryRequest,
    PlainAddress,
    Quantity,
    SecretKey,
)
from proxy.settings.setting_types import OneOf, SettingType

_FLAG = OneOf("true", "false")


def _annotation(kind: SettingType, text: str) -> Any:
    """Declares one annotation; it is None if the pod does not have it."""
    return field(default=None, metadata={"type": kind, "help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The annotations of one pod; a field's name is the annotation's, with underscores for dashes."""

    inject: str | None = _annotation(_FLAG, '"true": add the sidecar; "false": never.')
    containers: tuple[str, ...] | None = _annotation(
        ContainerNames(), "Which containers use the sidecar. Default: every one that has the variable."
    )
    env: str | None = _annotation(EnvName(), "The app's variable. Default: MEDIA_SERVICE_ADDR.")
    upstream: str | None = _annotation(
        AsText(SERVE_TYPES["MEDIA_SERVICE_ADDR"]), "The real media service's address, if the variable does not hold it."
    )
    policy: ConfigMapKey | None = _annotation(
        ConfigMapRef(), "The policy of several services: a ConfigMap as name or name:key (policy.yaml)."
    )
    port: int | None = _annotation(PORT, "Where the sidecar listens on loopback. Default: 50066.")
    probe_port: int | None = _annotation(PORT, "Its probes and metrics. Default: 9464.")
    admin_port: int | None = _annotation(PORT, "Its admin page, on loopback. Default: 9901.")
    mode: str | None = _annotation(
        OneOf("native", "container"), "The kind of container. Default: the installation's mode."
    )
    redis_secret: SecretKey | None = _annotation(REDIS_SECRET, "Secret with REDIS_ADDR: name or name:key.")
    rabbitmq_secret: SecretKey | None = _annotation(RABBITMQ_SECRET, "Secret with RABBITMQ_ADDR: name or name:key.")
    redis_addr: str | None = _annotation(PlainAddress(SERVE_TYPES["REDIS_ADDR"]), "REDIS_ADDR; empty: no Redis.")
    rabbitmq_addr: str | None = _annotation(
        PlainAddress(SERVE_TYPES["RABBITMQ_ADDR"]), "RABBITMQ_ADDR; empty: no events."
    )
    cache_ttl: str | None = _annotation(AsText(SERVE_TYPES["CACHE_TTL"]), "CACHE_TTL.")
    log_level: str | None = _annotation(AsText(SERVE_TYPES["LOG_LEVEL"]), "LOG_LEVEL.")
    cpu_request: str | None = _annotation(Quantity(), "CPU that the sidecar asks for.")
    cpu_limit: str | None = _annotation(CpuLimit(), "CPU that the sidecar may use.")
    memory_request: str | None = _annotation(MemoryRequest(), "Memory that the sidecar asks for.")
    memory_limit: str | None = _annotation(MemoryLimit(), "Memory that the sidecar may use.")
    allow_jobs: str | None = _annotation(
        _FLAG, '"true": in container mode, inject a Job although the sidecar keeps it from ending.'
    )


TYPES: dict[str, SettingType] = {each.name.replace("_", "-"): each.metadata["type"] for each in fields(Wishes)}
HELP: dict[str, str] = {each.name.replace("_", "-"): each.metadata["help"] for each in fields(Wishes)}


def parse(annotations: Mapping[str, Any]) -> Wishes:
    """The wishes of a pod; raises Refused for the first annotation that is not understood."""
    values: dict[str, Any] = {}
    for key, text in annotations.items():
        if not key.lower().startswith(PREFIX) or key == STATUS:
            continue
        name = key.removeprefix(PREFIX)
        if name not in TYPES:
            known = list(TYPES) if name != key else [annotation(each) for each in TYPES]
            raise Refused("unknown-annotation", key, f"is unknown; {nearest(name.lower(), known)}")
        values[name.replace("-", "_")] = _value(name, text)
    for name in ("redis", "rabbitmq"):
        if f"{name}_secret" in values and f"{name}_addr" in values:
            raise Refused(
                "bad-annotation", annotation(f"{name}-addr"), f"is given beside {name}-secret; remove one of them"
            )
    return Wishes(**values)


def _value(name: str, text: Any) -> Any:
    if not isinstance(text, str):
        raise Refused("bad-annotation", annotation(name), f"{text!r} is not a text; put it in quotes")
    try:
        return TYPES[name].convert(text, None, None)
    except click.BadParameter as error:
        raise Refused("bad-annotation", annotation(name), error.message) from None
