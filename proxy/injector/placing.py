"""The operations that add the sidecar at its position in the pod, and its volumes and pull secrets."""

from typing import Any

from proxy.injector import policies
from proxy.injector.names import NO_TOKEN_VOLUME
from proxy.injector.operations import Operation
from proxy.injector.values import ConfigMapKey

_MESHES = frozenset(
    {
        *("istio-init", "istio-validation", "istio-proxy"),
        *("linkerd-init", "linkerd-network-validator", "linkerd-proxy"),
        *("kuma-init", "kuma-validation", "kuma-sidecar"),
        *("consul-connect-inject-init", "consul-dataplane"),
    }
)
"""The init containers of service meshes, which set up the network that the sidecar's connections use."""


def sidecar(spec: dict[str, Any], container: dict[str, Any], *, native: bool) -> Operation:
    """Adds the sidecar: before the app's own init containers, which may call it, but after a service mesh's, which it
    needs itself. In container mode it is the last container.
    """
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
    """Adds the pull secrets that the pod does not have already."""
    there = spec.get("imagePullSecrets")
    have = [each.get("name") for each in there or ()]
    return _appended(there, "imagePullSecrets", [{"name": name} for name in names if name not in have])


def volumes(spec: dict[str, Any], policy: ConfigMapKey | None) -> list[Operation]:
    """Adds the policy's volume, and an empty one to mount in place of the service account's token, since the sidecar
    does not need the API server.
    """
    there = spec.get("volumes")
    wanted: list[dict[str, Any]] = [{"name": NO_TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}}]
    wanted += [policies.volume(policy)] if policy else []
    have = [each.get("name") for each in there or ()]
    return _appended(there, "volumes", [each for each in wanted if each["name"] not in have])


def _appended(there: list[Any] | None, name: str, missing: list[dict[str, Any]]) -> list[Operation]:
    where = ("spec", name)
    if there is None:
        return [Operation("add", where, missing)] if missing else []
    return [Operation("add", (*where, "-"), each) for each in missing]
