"""Counts a pod's resources as Kubernetes does: each container's, those that they share, and the sum with the sidecar.

Amounts are in cores or bytes.
"""

from decimal import Decimal
from typing import Any

from proxy.injector.names import CONTAINER
from proxy.injector.namespace_rules import RESOURCES
from proxy.injector.values import Quantity


def shared(spec: dict[str, Any]) -> dict[str, dict[str, Decimal]]:
    """The pod-level resources (`spec.resources`), by resource and then by `requests` and `limits`."""
    given = spec.get("resources") or {}
    found: dict[str, dict[str, Decimal]] = {}
    for group in ("requests", "limits"):
        for resource, text in (given.get(group) or {}).items():
            if resource in RESOURCES:
                found.setdefault(resource, {})[group] = quantity(text)
    return found


def every(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers except the sidecar."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return [each for each in containers if each["name"] != CONTAINER]


def all_limited(spec: dict[str, Any], resource: str) -> bool:
    """Whether every container except the sidecar has a limit for this resource."""
    return all(of(each, "limits", resource) is not None for each in every(spec))


def guaranteed(spec: dict[str, Any]) -> bool:
    """Whether the pod without the sidecar has the QoS class Guaranteed."""
    return all(
        (limit := of(each, "limits", resource)) and of(each, "requests", resource) == limit
        for each in every(spec)
        for resource in RESOURCES
    )


def of(container: dict[str, Any], group: str, resource: str) -> Decimal | None:
    """A container's request or limit (`group`); a request that is not given is the limit; None if there is neither."""
    given = container.get("resources") or {}
    text = (given.get(group) or {}).get(resource)
    if text is None and group == "requests":
        text = (given.get("limits") or {}).get(resource)
    return None if text is None else quantity(text)


def total(spec: dict[str, Any], group: str, resource: str, ours: Decimal | None, *, native: bool) -> Decimal:
    """A pod's requests or limits (`group`) with those of the sidecar (`ours`, None for none).

    That is the larger of two: the sum of its containers and native sidecars, and the most that an init container has
    together with the sidecars before it.
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    lasting = (ours or Decimal(0)) if native else Decimal(0)
    peak = lasting
    for each in spec.get("initContainers") or ():
        amount = of(each, group, resource) or Decimal(0)
        if each.get("restartPolicy") == "Always":
            lasting += amount
        peak = max(peak, lasting + (Decimal(0) if each.get("restartPolicy") == "Always" else amount))
    beside = sum((of(each, group, resource) or Decimal(0) for each in spec["containers"]), Decimal(0))
    overhead = (spec.get("overhead") or {}).get(resource) if group == "requests" or beside else None
    running = lasting + beside + ((ours or Decimal(0)) if not native else Decimal(0))
    return max(peak, running) + (quantity(overhead) if overhead is not None else Decimal(0))


def quantity(text: Any) -> Decimal:
    """The amount of a quantity in a pod; 0 if it is not understood, which the API server will report."""
    try:
        return Quantity.amount(str(text))
    except ValueError:
        return Decimal(0)
