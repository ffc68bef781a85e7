"""The sidecar's requests and limits are fitted to the pod and to the rules of its namespace."""

from typing import Any

import pytest

from proxy.injector import namespace_rules
from proxy.injector.annotations import Wishes
from proxy.injector.refusal import Refused
from proxy.injector.resources import fitted
from proxy.injector.settings import InjectorSettings

USUAL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def limits(kind: str = "Container", **bounds: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": kind, **bounds}]}}


def quota(used: dict[str, str] | None = None, scopes: list[str] | None = None, **hard: str) -> dict[str, Any]:
    named = {name.replace("__", "-").replace("_", "."): text for name, text in hard.items()}
    taken = {name.replace("__", "-").replace("_", "."): text for name, text in (used or {}).items()}
    spec = {"hard": named, **({"scopes": scopes} if scopes else {})}
    return {"metadata": {"name": "q"}, "spec": spec, "status": {"hard": named, "used": taken}}


def resources(requests: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
    return {"name": "app", "resources": {"requests": requests, "limits": limits}}


def fit(
    *demands: dict[str, Any],
    app: dict[str, Any] | None = None,
    wishes: Wishes | None = None,
    counted: bool = True,
    native: bool = True,
    spec: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    spec = {"containers": [app or {"name": "app"}], **(spec or {})}
    ranges = [each for each in demands if "limits" in each["spec"]]
    quotas = [each for each in demands if "hard" in each["spec"]]
    rules = namespace_rules.read(ranges, quotas, spec)
    return fitted(spec, wishes or Wishes(), InjectorSettings(**settings), rules, native=native, counted=counted)


def test_where_nothing_is_demanded_it_is_what_the_installation_says() -> None:
    assert fit() == USUAL
    assert fit(memory_limit="") == {"requests": {"cpu": "50m", "memory": "128Mi"}}


def test_where_all_others_have_a_limit_it_has_one() -> None:
    """Otherwise a quota on limits.cpu, which is not always visible, would refuse the pod."""
    app = resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "2"})
    assert fit(app=app)["limits"] == {"cpu": "500m", "memory": "512Mi"}


def test_a_guaranteed_pod_stays_so() -> None:
    app = resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"})
    found = fit(app=app)
    assert found["requests"] == found["limits"] == {"cpu": "250m", "memory": "512Mi"}
    only_limits = {"name": "app", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    assert fit(app=only_limits) == found
    shrunk = fit(quota(limits_cpu="1100m", limits_memory="1280Mi"), app=app)
    assert shrunk["requests"] == shrunk["limits"] == {"cpu": "100m", "memory": "256Mi"}


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        (quota(limits_cpu="4"), {"limits": {"cpu": "500m"}}),
        (quota(limits_cpu="200m"), {"limits": {"cpu": "200m"}}),
        (limits(max={"cpu": "1", "memory": "2Gi"}), {"limits": {"cpu": "500m", "memory": "512Mi"}}),
        (limits(max={"memory": "256Mi"}), {"limits": {"memory": "256Mi"}}),
        (limits(min={"cpu": "100m"}), {"requests": {"cpu": "100m"}}),
        (limits(default={"cpu": "40m"}), {"limits": {"cpu": "500m"}}),
        (limits(maxLimitRequestRatio={"cpu": "2", "memory": "2"}), {"limits": {"cpu": "100m", "memory": "512Mi"}}),
        (limits(maxLimitRequestRatio={"memory": "2"}), {"requests": {"memory": "256Mi"}}),
        (limits("Pod", max={"memory": "300Mi"}), {"limits": {"memory": "300Mi"}}),
    ],
    ids=str,
)
def test_it_is_fitted_to_what_is_demanded(demands: dict[str, Any], expected: dict[str, dict[str, str]]) -> None:
    found = fit(demands)
    for group, values in expected.items():
        assert {name: found[group][name] for name in values} == values


@pytest.mark.parametrize(
    "demands",
    [
        limits(max={"memory": "64Mi"}),
        limits(max={"cpu": "40m"}),
        limits("Pod", max={"memory": "100Mi"}),
        quota(requests_memory="100Mi"),
        quota({"requests_cpu": "990m"}, requests_cpu="1"),
        quota({"cpu": "990m"}, cpu="1"),
        quota({"limits_memory": "1Gi"}, limits_memory="1100Mi"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(demands: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"the sidecar does not fit: .*; set (cpu|memory)-request and") as caught:
        fit(demands)
    assert caught.value.reason == "resources"


def test_who_asks_for_it_is_not_judged_by_what_is_left() -> None:
    assert fit(quota(requests_memory="100Mi"), counted=False) == USUAL


def test_a_quota_that_the_pod_alone_is_too_much_for_is_not_our_matter() -> None:
    app = resources({"cpu": "2"}, {})
    assert fit(quota(requests_cpu="1"), app=app)["requests"]["cpu"] == "50m"


@pytest.mark.parametrize("scopes", [["BestEffort"], ["Terminating"]])
def test_a_quota_that_does_not_count_the_pod(scopes: list[str]) -> None:
    assert fit(quota(scopes=scopes, requests_cpu="1m")) == USUAL


def test_what_the_pod_says_is_never_changed() -> None:
    wishes = Wishes(cpu_request="100m", cpu_limit="1", memory_request="200Mi", memory_limit="300Mi")
    expected = {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "300Mi"}}
    assert fit(limits(min={"cpu": "50m"}), wishes=wishes) == expected
    with pytest.raises(Refused, match="no more than 500m of cpu"):
        fit(limits(max={"cpu": "500m"}), wishes=wishes)


def test_the_annotation_that_is_there_is_blamed() -> None:
    with pytest.raises(Refused, match=r"memory-limit: 64Mi is below the request of 128Mi; raise it, or set memory-req"):
        fit(wishes=Wishes(memory_limit="64Mi"))
    with pytest.raises(Refused, match=r"memory-request: the installation's limit of 512Mi is below the request of 1Gi"):
        fit(wishes=Wishes(memory_request="1Gi"))


def test_a_pod_with_resources_as_a_whole_shares_them() -> None:
    app = resources({"cpu": "90m", "memory": "100Mi"}, {})
    spec = {"resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}}}
    assert fit(app=app, spec=spec) == {"requests": {"cpu": "10m"}}
    assert fit(spec={"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}) == {}
    roomy = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}
    assert fit(app=app, spec=roomy) == USUAL


def test_init_containers_count_as_kubernetes_counts_them() -> None:
    big = {"name": "migrate", "resources": {"requests": {"memory": "800Mi"}}}
    app = resources({"memory": "100Mi"}, {})
    with pytest.raises(Refused):
        fit(quota(requests_memory="900Mi"), app=app, spec={"initContainers": [big]})
    assert fit(quota(requests_memory="900Mi"), app=app, spec={"initContainers": [big]}, native=False)


def test_what_is_lowered_is_never_too_little_to_start() -> None:
    """Even if the installation's request is small, the limit is not lowered to it."""
    small: dict[str, Any] = {"memory_request": "32Mi", "cpu_request": "10m"}
    assert fit(quota(limits_memory="100Mi"), **small)["limits"] == {"memory": "100Mi"}
    for demand in (limits(max={"memory": "64Mi"}), limits(max={"cpu": "20m"}), quota(limits_memory="90Mi")):
        with pytest.raises(Refused, match="does not fit"):
            fit(demand, **small)


def test_a_quota_that_counts_it_only_with_requests() -> None:
    full = quota({"pods": "3"}, scopes=["NotBestEffort"], pods="3")
    with pytest.raises(Refused, match="the ResourceQuota q has no pod left"):
        fit(full)
    assert fit(quota({"pods": "2"}, scopes=["NotBestEffort"], pods="3")) == USUAL
    assert fit(full, counted=False) == USUAL


def test_a_ratio_of_local_storage_is_heeded() -> None:
    """Without request and limit, the API server would refuse the pod."""
    found = fit(limits(maxLimitRequestRatio={"ephemeral-storage": "2"}))
    assert found["requests"]["ephemeral-storage"] == found["limits"]["ephemeral-storage"] == "128Mi"
    bounds: dict[str, Any] = {"maxLimitRequestRatio": {"ephemeral-storage": "1"}, "min": {"ephemeral-storage": "1Gi"}}
    assert fit(limits(**bounds))["limits"]["ephemeral-storage"] == "1024Mi"
    assert fit(limits(max={"ephemeral-storage": "1Gi"})) == USUAL, "there the API server sets a default"


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(cpu_limit="300m"), "300m"),
        (Wishes(cpu_limit="25m"), "25m"),
        (Wishes(cpu_request="300m"), "300m"),
        (Wishes(cpu_request="2"), "2"),
    ],
)
def test_one_wish_of_a_guaranteed_pod_is_both(wishes: Wishes, expected: str) -> None:
    """Kubernetes treats a limit without a request like that. With the installation's other value, the pod would be
    Burstable.
    """
    app = resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"})
    found = fit(app=app, wishes=wishes)
    assert (found["requests"]["cpu"], found["limits"]["cpu"]) == (expected, expected)
    memory = fit(app=app, wishes=Wishes(memory_limit="256Mi"))
    assert memory["requests"]["memory"] == memory["limits"]["memory"] == "256Mi"


SHARED = {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}}
"""Pod-level resources; the pod's container has 60m of the request."""


@pytest.mark.parametrize(
    ("demanded", "expected"),
    [
        (limits(max={"cpu": "500m"}), ("40m", "500m")),
        (limits(default={"cpu": "20m"}), ("40m", "40m")),
        (limits(maxLimitRequestRatio={"cpu": "2"}), ("40m", "40m")),
        (limits(min={"cpu": "40m"}), ("40m", None)),
    ],
)
def test_a_container_of_a_pod_with_resources_of_its_own_is_judged_too(
    demanded: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    found = fit(demanded, spec=SHARED, app=resources({"cpu": "60m"}, {}))
    assert (found["requests"]["cpu"], found["limits"].get("cpu")) == expected


def test_such_a_pods_sidecar_never_has_too_little_to_start() -> None:
    whole = {"resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "1Gi"}}}
    app = resources({"memory": "50Mi"}, {})
    assert fit(limits(maxLimitRequestRatio={"memory": "4"}), spec=whole, app=app)["limits"]["memory"] == "200Mi"
    unlimited = {"resources": {"requests": {"memory": "100Mi"}}}
    assert fit(limits(default={"memory": "64Mi"}), spec=unlimited, app=app)["limits"]["memory"] == "96Mi"
    for demanded in (limits(maxLimitRequestRatio={"memory": "1"}), limits(max={"memory": "80Mi"})):
        with pytest.raises(Refused, match="LimitRange allows no more than"):
            fit(demanded, spec=whole, app=app)


def test_what_such_a_pod_has_left_may_be_too_little_for_the_namespace() -> None:
    with pytest.raises(Refused, match="no less than 60m of cpu, and the pod's own resources are too small"):
        fit(limits(min={"cpu": "60m"}), spec=SHARED, app=resources({"cpu": "60m"}, {}))
