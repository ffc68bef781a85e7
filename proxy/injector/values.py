"""The types of the injector's own settings and annotations: quantities, Secret references, ports, container lists."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from proxy.settings.setting_types import Count, SettingType

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"

PORT = Count(1024, 65535)
"""A container without capabilities cannot listen on a port below 1024."""


class Quantity(SettingType):
    """A Kubernetes quantity above zero, kept as it was given; `amount` is its number.

    Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """

    name = "quantity"
    accepted = "a Kubernetes quantity above 0, like 50m, 0.5, 128Mi"

    least = Decimal(0)

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty

    def parse(self, text: str) -> str:
        if not (self.empty and text == ""):
            amount = self.amount(text)
            if amount <= 0 or amount < self.least:
                raise ValueError(text)
        return text

    @staticmethod
    def amount(text: str) -> Decimal:
        """The number of cores or bytes; raises ValueError if the text is not a quantity."""
        match = re.fullmatch(
            r"(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})(?:([numkMGTPE]|[KMGTPE]i)|e([+-]?\d{1,2}))?", text, re.ASCII
        )
        if not match:
            raise ValueError(text)
        if match[3]:
            return Decimal(match[1]).scaleb(int(match[3]))
        return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


class CpuLimit(Quantity):
    """A CPU limit. With less than this the sidecar takes too long to start, so Kubernetes restarts it forever."""

    accepted = "a Kubernetes quantity of 25m or more, like 500m, 1"
    least = Decimal("0.025")


class MemoryLimit(Quantity):
    """A memory limit. With less than this the sidecar is killed when it starts; `512m` would be half a byte."""

    accepted = "a Kubernetes quantity of 96Mi or more, like 256Mi, 0.5Gi, 512M"
    least = Decimal(96 << 20)


class MemoryRequest(Quantity):
    """A memory request. A smaller one must be a mistake, since any node has this much."""

    accepted = "a Kubernetes quantity of 1Mi or more, like 128Mi, 0.1Gi, 128M"
    least = Decimal(1 << 20)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret in the pod's namespace."""

    name: str
    key: str


class SecretRef(SettingType):
    """A Secret's key as `name` or `name:key`; None if empty."""

    name = "secret"
    accepted = "a Secret in the pod's namespace: name or name:key"

    def __init__(self, default_key: str) -> None:
        self.default_key = default_key

    def parse(self, text: str) -> SecretKey | None:
        if not text:
            return None
        name, colon, key = text.partition(":")
        if not re.fullmatch(_DNS_NAME, name) or len(name) > 253:
            raise ValueError(text)
        if colon and not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
            raise ValueError(text)
        return SecretKey(name, key or self.default_key)


@dataclass(frozen=True, slots=True)
class ConfigMapKey:
    """One key of a ConfigMap in the pod's namespace."""

    name: str
    key: str


class ConfigMapRef(SettingType):
    """A ConfigMap's key as `name` or `name:key`; the default key is policy.yaml."""

    name = "configmap"
    accepted = "a ConfigMap in the pod's namespace: name or name:key"

    def parse(self, text: str) -> ConfigMapKey:
        found = SecretRef("policy.yaml").parse(text)
        if found is None:
            raise ValueError(text)
        return ConfigMapKey(found.name, found.key)


class ContainerNames(SettingType):
    """The names of containers, without duplicates."""

    name = "names"
    accepted = "container names, separated by commas"

    def parse(self, text: str) -> tuple[str, ...]:
        names = [name.strip() for name in text.split(",")]
        if not all(re.fullmatch(_DNS_LABEL, name) for name in names):
            raise ValueError(text)
        return tuple(dict.fromkeys(names))


class Words(SettingType):
    """The names of Secrets (for pulling images); none if empty."""

    name = "names"
    accepted = "names of Secrets, separated by commas; empty: none"

    def parse(self, text: str) -> tuple[str, ...]:
        names = [name.strip() for name in text.split(",")] if text else []
        if not all(re.fullmatch(_DNS_NAME, name) for name in names):
            raise ValueError(text)
        return tuple(dict.fromkeys(names))


class EnvName(SettingType):
    """The name of an environment variable, as Kubernetes accepts it."""

    name = "variable"
    accepted = "the name of an environment variable, like MEDIA_SERVICE_ADDR"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,252}", text):
            raise ValueError(text)
        return text


class Image(SettingType):
    """A container image, kept as it was given."""

    name = "image"
    accepted = "a container image, like registry.example/media-cache-proxy:1.0"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[^\s]{1,512}", text):
            raise ValueError(text)
        return text


class PullPolicy(SettingType):
    """When the node pulls the image, spelled as Kubernetes does."""

    name = "policy"
    accepted = "Always, IfNotPresent, Never"

    def parse(self, text: str) -> str:
        if text not in {"Always", "IfNotPresent", "Never"}:
            raise ValueError(text)
        return text


class AsText(SettingType):
    """A text that another type accepts, kept as it is for the sidecar's environment."""

    def __init__(self, kind: SettingType, *, empty: bool = False) -> None:
        self.kind, self.empty = kind, empty
        self.name, self.accepted = kind.name, kind.accepted

    def shown(self, text: str) -> str:
        return self.kind.shown(text)

    def parse(self, text: str) -> str:
        if text or not self.empty:
            self.kind.parse(text)
        return text


class PlainAddress(AsText):
    """An address without a password, since everybody may read it in the pod's manifest.

    RabbitMQ's public default guest:guest is not a secret.
    """

    def shown(self, text: str) -> str:
        return "…"

    def __init__(self, kind: SettingType) -> None:
        super().__init__(kind, empty=True)
        self.accepted = f"without a password (one goes into a Secret): {kind.accepted}"

    def parse(self, text: str) -> str:
        text = super().parse(text)
        if re.search(r"[^/,]*:[^/,]+@", text.replace("//guest:guest@", "//")):
            raise ValueError(text)
        return text


class User(SettingType):
    """A numeric user ID other than root's; None if empty."""

    name = "uid"
    accepted = "a user id above 0; empty: the image's own (or the one that OpenShift assigns)"

    def parse(self, text: str) -> int | None:
        if not text:
            return None
        return int(Count(1, 2**31 - 1).parse(text))


class EnvList(SettingType):
    """A JSON list of Kubernetes EnvVar objects with distinct names; none if empty."""

    name = "json"
    accepted = 'a JSON list of EnvVar objects with distinct names, like [{"name": "CACHE_MODE", "value": "shadow"}]'

    def shown(self, text: str) -> str:
        return "…"

    def parse(self, text: str) -> tuple[dict[str, Any], ...]:
        entries = json.loads(text) if text else []
        if not isinstance(entries, list) or not all(self._is_entry(entry) for entry in entries):
            raise ValueError(text)
        if len({entry["name"] for entry in entries}) < len(entries):
            raise ValueError(text)
        return tuple(entries)

    @staticmethod
    def _is_entry(entry: Any) -> bool:
        """Whether every API server accepts an entry: otherwise it would refuse each pod that gets the sidecar."""
        if not isinstance(entry, dict) or entry.keys() - {"name", "value", "valueFrom"}:
            return False
        name = entry.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,252}", name):
            return False
        if "valueFrom" in entry:
            return "value" not in entry and _is_source(entry["valueFrom"])
        return isinstance(entry.get("value", ""), str)


_SOURCES: dict[str, dict[str, type]] = {
    "secretKeyRef": {"key": str},
    "configMapKeyRef": {"key": str},
    "fieldRef": {"fieldPath": str},
    "resourceFieldRef": {"resource": str},
}
"""The required members of each source of a variable. fileKeyRef is left out: it needs a volume, which the sidecar does
not have."""


def _is_source(source: Any) -> bool:
    if not isinstance(source, dict) or len(source) != 1:
        return False
    ((kind, reference),) = source.items()
    if kind not in _SOURCES or not isinstance(reference, dict):
        return False
    if kind.endswith("KeyRef") and not re.fullmatch(_DNS_NAME, str(reference.get("name", ""))):
        return False
    return all(isinstance(reference.get(name), each) and reference[name] for name, each in _SOURCES[kind].items())
