"""Checks a pod's operating system, network and user, which decide whether and how a sidecar can run in it."""

from typing import Any

from proxy.injector.refusal import Refused, annotation

_OS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_WINDOWS = "windows"


def refuse(spec: dict[str, Any]) -> None:
    """Raises Refused for a pod on Windows nodes, or on its node's network."""
    if _is_for_windows(spec):
        raise Refused(
            "windows", annotation("inject"), 'the pod is for Windows, the sidecar for Linux; set this to "false"'
        )
    if spec.get("hostNetwork"):
        raise Refused(
            "host-network",
            annotation("inject"),
            "with hostNetwork the sidecar's ports would be the node's; remove hostNetwork, or set this to "
            '"false" and give the app the address of a standalone proxy',
        )


def runs_as_root(spec: dict[str, Any]) -> bool:
    """Whether a container that names no user would run as root, as the sidecar never does."""
    return (spec.get("securityContext") or {}).get("runAsUser") == 0


def _is_for_windows(spec: dict[str, Any]) -> bool:
    selected = spec.get("nodeSelector") or {}
    if (spec.get("os") or {}).get("name") == _WINDOWS or any(selected.get(each) == _WINDOWS for each in _OS):
        return True
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or ()
    return bool(terms) and all(any(map(_needs_windows, term.get("matchExpressions") or ())) for term in terms)


def _needs_windows(expression: dict[str, Any]) -> bool:
    if expression.get("key") not in _OS:
        return False
    values = expression.get("values") or ()
    operator = expression.get("operator")
    return (operator == "In" and "linux" not in values) or (operator == "NotIn" and "linux" in values)
