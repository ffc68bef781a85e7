"""LimitRanges and ResourceQuotas are parsed."""

from decimal import Decimal
from typing import Any

import pytest

from proxy.injector.namespace_rules import Bounds, read


def ranges(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"spec": {"limits": list(items)}}]


def test_of_several_ranges_the_narrowest_counts() -> None:
    first = {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "10m"}, "default": {"cpu": "1"}}
    second = {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "20m"}, "maxLimitRequestRatio": {"cpu": "4"}}
    rules = read([*ranges(first), *ranges(second)], [], {})
    assert rules.bounds("cpu") == Bounds(low=Decimal("0.02"), high=Decimal(1), ratio=Decimal(4), default=Decimal(1))
    assert rules.bounds("cpu").wants_limit
    assert not rules.bounds("memory").wants_limit


def test_other_kinds_are_no_matter() -> None:
    claim = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    assert read(ranges(claim), [], {}).bounds("cpu") == Bounds()


def quota(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "q"},
        "spec": {"hard": {"cpu": "1", "pods": "3"}, **spec},
        "status": {"used": {"cpu": "600m"}},
    }


def test_what_is_left_of_a_quota() -> None:
    (found,) = read([], [quota()], {}).quotas
    assert found.left == {"requests.cpu": Decimal("0.4"), "pods": Decimal(3)}


OTHER = {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"}
REQUIRED, PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))


@pytest.mark.parametrize(
    ("scope", "spec", "counts"),
    [
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}, {"priorityClassName": "high"}, True),
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}, {}, False),
        ({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}, {}, True),
        ({"scopeName": "PriorityClass", "operator": "Exists"}, {}, False),
        ({"scopeName": "Terminating", "operator": "Exists"}, {"activeDeadlineSeconds": 5}, True),
        ({"scopeName": "NotTerminating", "operator": "Exists"}, {"activeDeadlineSeconds": 5}, False),
        ({"scopeName": "NotBestEffort", "operator": "Exists"}, {}, True),
        ({"scopeName": "BestEffort", "operator": "Exists"}, {}, False),
        (OTHER, {}, False),
        (OTHER, {"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "zone"}]}, "podAntiAffinity": None}}, False),
        (OTHER, {"affinity": {"podAffinity": {REQUIRED: [{"namespaces": ["x"]}]}}}, True),
        (OTHER, {"affinity": {"podAntiAffinity": {REQUIRED: [{"namespaceSelector": {}}]}}}, True),
        (
            OTHER,
            {"affinity": {"podAntiAffinity": {PREFERRED: [{"podAffinityTerm": {"namespaces": ["x"]}}]}}},
            True,
        ),
        ({"scopeName": "New", "operator": "Exists"}, {}, True),
    ],
    ids=str,
)
def test_scopes(scope: dict[str, Any], spec: dict[str, Any], counts: bool) -> None:
    found = read([], [quota(scopeSelector={"matchExpressions": [scope]})], spec).quotas
    assert bool(found) is counts


def test_what_is_not_understood_is_left_out() -> None:
    (found,) = read([], [{"metadata": {}, "spec": {"hard": {"cpu": "many"}}}], {}).quotas
    assert (found.name, found.left) == ("?", {})
    assert read([{}], [], {}).bounds("cpu") == Bounds()
