"""`Ports`: the sidecar's ports, by default or as the pod requests, but never one of another container in the pod."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proxy.injector.refusal import Refused, annotation

_DEFAULTS = {"port": 50066, "probe-port": 9464, "admin-port": 9901}


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports on which the sidecar listens: gRPC (loopback), probes and metrics, admin (loopback)."""

    grpc: int
    probe: int
    admin: int


def taken(containers: Iterable[dict[str, Any]]) -> dict[int, str]:
    """The TCP ports in use and the name of their container: declared ones, and those of probes and hooks."""
    ports: dict[int, str] = {}
    for container in containers:
        for declared in container.get("ports") or ():
            if (declared.get("protocol") or "TCP") == "TCP" and "containerPort" in declared:
                ports.setdefault(declared["containerPort"], container["name"])
        hooks = container.get("lifecycle") or {}
        asked = [container.get(f"{probe}Probe") for probe in ("startup", "liveness", "readiness")]
        for handlers in (*asked, hooks.get("postStart"), hooks.get("preStop")):
            for handler in ("httpGet", "tcpSocket", "grpc"):
                port = ((handlers or {}).get(handler) or {}).get("port")
                if isinstance(port, int):
                    ports.setdefault(port, container["name"])
    return ports


def choose(wanted: dict[str, int | None], in_use: dict[int, str]) -> Ports:
    """The sidecar's ports. `wanted` is by annotation name, None for the default; `in_use` is as `taken` gives it.

    A default port that is in use is replaced by the next free one. Raises Refused if a wanted one is in use.
    """
    used = dict(in_use)
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        if port is None:
            continue
        if port in used:
            raise Refused(
                "port-clash", annotation(name), f"{port} is used by {used[port]}; choose another one or remove this"
            )
        chosen[name] = port
        used[port] = annotation(name)
    for name, default in _DEFAULTS.items():
        if name not in chosen:
            chosen[name] = _next_free(name, default, used)
            used[chosen[name]] = annotation(name)
    return Ports(chosen["port"], chosen["probe-port"], chosen["admin-port"])


def _next_free(name: str, first: int, used: dict[int, str]) -> int:
    for port in range(first, 65536):
        if port not in used:
            return port
    raise Refused("port-clash", annotation(name), f"no port from {first} up is free; set one")
