"""`Rules`: what a namespace requires of its pods' resources, from its LimitRanges and ResourceQuotas. Pure.

https://kubernetes.io/docs/concepts/policy/limit-range/ and …/resource-quotas/. The API server applies them in
plugin/pkg/admission/limitranger/admission.go and pkg/quota/v1/evaluator/core/pods.go of Kubernetes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proxy.injector.values import Quantity

RESOURCES = ("cpu", "memory")
STORAGE = "ephemeral-storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of one resource for a container or a whole pod, in cores or bytes; None means there is no bound."""

    low: Decimal | None = None
    high: Decimal | None = None
    ratio: Decimal | None = None
    """The largest limit, as a multiple of the request."""
    default: Decimal | None = None
    """The limit that a container without one gets."""
    default_request: Decimal | None = None
    """The request that a container without one gets."""

    @property
    def wants_limit(self) -> bool:
        """Whether a container without a limit is refused or given one."""
        return not (self.high is None and self.ratio is None and self.default is None)


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota that counts a pod. `left` is what remains, by the quota's own names such as `limits.cpu`."""

    name: str
    left: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one namespace; `container` and `pod` are by resource. Empty if there are none, or none are known."""

    container: Mapping[str, Bounds] = field(default_factory=dict)
    pod: Mapping[str, Bounds] = field(default_factory=dict)
    quotas: tuple[Quota, ...] = ()
    storage: Bounds = Bounds()
    """The bounds of a container's local storage (`ephemeral-storage`)."""
    storage_of_pod: Bounds = Bounds()

    def bounds(self, resource: str) -> Bounds:
        """The bounds of a resource for a container."""
        return self.container.get(resource, Bounds())

    def quota_names(self) -> set[str]:
        """The names of everything that any quota counts."""
        return {name for quota in self.quotas for name in quota.left}


def read(
    limit_ranges: Iterable[Mapping[str, Any]], quotas: Iterable[Mapping[str, Any]], spec: Mapping[str, Any]
) -> Rules:
    """The rules for a pod with this spec, from the objects in the API server's JSON."""
    items = [item for each in limit_ranges for item in (each.get("spec") or {}).get("limits") or ()]
    container = _bounds((item for item in items if item.get("type") == "Container"), (*RESOURCES, STORAGE))
    pod = _bounds((item for item in items if item.get("type") == "Pod"), (*RESOURCES, STORAGE))
    return Rules(
        storage=container.pop(STORAGE),
        storage_of_pod=pod.pop(STORAGE),
        container=container,
        pod=pod,
        quotas=tuple(_quota(each) for each in quotas if _counts(each, spec)),
    )


def _bounds(items: Iterable[Mapping[str, Any]], resources: Iterable[str]) -> dict[str, Bounds]:
    """The bounds of all LimitRanges together. Kubernetes does not say whose defaults win, so the worst are assumed."""
    every = list(items)

    def values(field_name: str, resource: str) -> list[Decimal]:
        texts = (str((item.get(field_name) or {}).get(resource, "")) for item in every)
        return [amount for text in texts if text and (amount := _amount(text)) is not None]

    return {
        resource: Bounds(
            low=max(values("min", resource), default=None),
            high=min(values("max", resource), default=None),
            ratio=min(values("maxLimitRequestRatio", resource), default=None),
            default=min(values("default", resource), default=None),
            default_request=max(values("defaultRequest", resource), default=None),
        )
        for resource in resources
    }


def _quota(found: Mapping[str, Any]) -> Quota:
    hard = (found.get("spec") or {}).get("hard") or {}
    used = (found.get("status") or {}).get("used") or {}
    left = {}
    for name, text in hard.items():
        most, taken = _amount(str(text)), _amount(str(used.get(name, "0")))
        if most is not None and taken is not None:
            left[{"cpu": "requests.cpu", "memory": "requests.memory"}.get(name, name)] = most - taken
    return Quota(str((found.get("metadata") or {}).get("name") or "?"), left)


def _counts(found: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a quota counts the pod with its sidecar, whose requests keep the pod from being BestEffort."""
    wanted = found.get("spec") or {}
    scopes = [{"scopeName": name, "operator": "Exists"} for name in wanted.get("scopes") or ()]
    scopes += (wanted.get("scopeSelector") or {}).get("matchExpressions") or []
    return all(_in_scope(scope, spec) for scope in scopes)


def _in_scope(scope: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    ends = spec.get("activeDeadlineSeconds") is not None
    known = {"BestEffort": False, "NotBestEffort": True, "Terminating": ends, "NotTerminating": not ends}
    known["CrossNamespacePodAffinity"] = _names_other_namespaces(spec)
    name = scope.get("scopeName")
    if name == "PriorityClass":
        given, values = spec.get("priorityClassName") or "", scope.get("values") or ()
        found = {"In": given in values, "NotIn": given not in values, "Exists": bool(given), "DoesNotExist": not given}
        return found.get(str(scope.get("operator")), True)
    return known.get(str(name), True)


def _names_other_namespaces(spec: Mapping[str, Any]) -> bool:
    """Whether a pod's affinity has a term for other namespaces; a quota of zero such pods forbids them."""
    affinity = spec.get("affinity") or {}
    terms: list[Mapping[str, Any]] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        given = affinity.get(kind) or {}
        terms += given.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        weighted = given.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [each.get("podAffinityTerm") or {} for each in weighted]
    return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms)


def _amount(text: str) -> Decimal | None:
    """The amount of a quantity; None if it is not understood."""
    try:
        return Quantity.amount(text)
    except ValueError:
        return None
