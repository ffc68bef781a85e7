"""Checks the shape of the parts of a pod that the injector reads, once, so that all other modules can rely on it.

A pod from an API server has been validated; one from a file or an unusual client has not.
"""

from typing import Any

from proxy.injector.refusal import Refused

_ENV = [{"name!": str, "value": str, "valueFrom": dict}]
_HANDLER = {"httpGet": dict, "tcpSocket": dict, "grpc": dict}
_RESOURCES = {"requests": dict, "limits": dict}
_CONTAINER = {
    "name!": str,
    "env": _ENV,
    "envFrom": list,
    "restartPolicy": str,
    "resources": _RESOURCES,
    "ports": [{"containerPort": int, "protocol": str}],
    "startupProbe": _HANDLER,
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
}
_TERM = {"namespaces": list, "namespaceSelector": dict}
_PODS = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": _TERM}],
}
_NODES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": str, "operator": str, "values": list}]}]}
_POD = {
    "metadata": {"annotations": dict, "labels": dict, "ownerReferences": [{"kind": str}]},
    "spec!": {
        "containers!": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "imagePullSecrets": [{"name": str}],
        "volumes": [{"name": str}],
        "resources": _RESOURCES,
        "overhead": dict,
        "priorityClassName": str,
        "hostNetwork": bool,
        "securityContext": {"runAsUser": int},
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _NODES},
            "podAffinity": _PODS,
            "podAntiAffinity": _PODS,
        },
        "os": {"name": str},
        "nodeSelector": dict,
        "restartPolicy": str,
    },
}
"""The expected shape. A key with `!` is required; all others may be absent or null."""

_WORDS = {dict: "a mapping", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}


def check(pod: Any) -> None:
    """Raises Refused with the first place where a pod does not have the expected shape."""
    _check(pod, _POD, "pod")
    if not pod["spec"]["containers"]:
        raise Refused("malformed", "pod.spec.containers", "is empty; a pod has at least one container")


def _check(value: Any, shape: type | dict[str, Any] | list[Any], where: str) -> None:
    if isinstance(shape, dict):
        _check_kind(value, dict, where)
        for key, inner in shape.items():
            name = key.removesuffix("!")
            if value.get(name) is not None:
                _check(value[name], inner, f"{where}.{name}")
            elif key != name:
                raise Refused("malformed", f"{where}.{name}", "is missing; compare with the Kubernetes API reference")
    elif isinstance(shape, list):
        _check_kind(value, list, where)
        for index, item in enumerate(value):
            _check(item, shape[0], f"{where}[{index}]")
    else:
        _check_kind(value, shape, where)


def _check_kind(value: Any, kind: type, where: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refused("malformed", where, f"is not {_WORDS[kind]}; compare with the Kubernetes API reference")
