"""The sidecar's position in the pod, and what is added to the pod with it: volumes and pull secrets."""

from typing import Any

from proxy.injector.names import NO_TOKEN_VOLUME
from proxy.injector.operations import Operation

_MESHES = frozenset(
    {
        *("istio-init", "istio-validation", "istio-proxy"),
        *("linkerd-init", "linkerd-network-validator", "linkerd-proxy"),
        *("kuma-init", "kuma-validation", "kuma-sidecar"),
        *("consul-connect-inject-init", "consul-dataplane"),
    }
)
"""Init containers that make the network the sidecar's connections go through."""


def sidecar(spec: dict[str, Any], container: dict[str, Any], *, native: bool) -> Operation:
    """Before the app's own init containers, which may call it; behind a service mesh's, which it needs itself."""
    if not native:
        return Operation("add", ("spec", "containers", "-"), container)
    there = spec.get("initContainers")
    if there is None:
        return Operation("add", ("spec", "initContainers"), [container])
    index = 0
    while index < len(there) and there[index]["name"] in _MESHES:
        index += 1
    return Operation("add", ("spec", "initContainers", index), container)


def pull_secrets(spec: dict[str, Any], names: tuple[str, ...]) -> list[Operation]:
    """Those that the pod does not have already."""
    there = spec.get("imagePullSecrets")
    have = [each.get("name") for each in there or ()]
    return _appended(there, "imagePullSecrets", [{"name": name} for name in names if name not in have])


def volumes(spec: dict[str, Any]) -> list[Operation]:
    """What the sidecar mounts where the account's token would be: it has nothing to say to the API server."""
    there = spec.get("volumes")
    if any(each.get("name") == NO_TOKEN_VOLUME for each in there or ()):
        return []
    return _appended(there, "volumes", [{"name": NO_TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}}])


def _appended(there: list[Any] | None, name: str, missing: list[dict[str, Any]]) -> list[Operation]:
    where = ("spec", name)
    if there is None:
        return [Operation("add", where, missing)] if missing else []
    return [Operation("add", (*where, "-"), each) for each in missing]
