"""Strict namespaces that opted in: a pod that could be created without the sidecar is created with it, or without it
and with a warning, but never refused. The API server's own LimitRanger, quota and validation decide.
"""

from typing import Any

import pytest

from tests.cluster.control_plane import Answer, ControlPlane
from tests.cluster.installation import Replica, pod, sidecar

GUARANTEED = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
BURSTABLE = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "40m", "memory": "64Mi"}}


def limit_range(**bounds: Any) -> tuple[str, dict[str, Any]]:
    item = {"type": "Container", **bounds}
    return "limitranges", {"metadata": {"name": "strict"}, "spec": {"limits": [item]}}


def quota(scopes: list[str] | None = None, **hard: str) -> tuple[str, dict[str, Any]]:
    named = {name.replace("__", "-").replace("_", "."): text for name, text in hard.items()}
    spec = {"hard": named, **({"scopes": scopes} if scopes else {})}
    return "resourcequotas", {"metadata": {"name": "strict"}, "spec": spec}


def demand(plane: ControlPlane, namespace: str, kind: str, body: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace}/{kind}"
    plane.make(path, body)
    if kind == "resourcequotas" and not plane.controllers:
        status = {"hard": body["spec"]["hard"], "used": dict.fromkeys(body["spec"]["hard"], "0")}
        done = plane.call("PATCH", f"{path}/strict/status", {"status": status}, kind="application/merge-patch+json")
        assert done.status == 200, done.body
    if kind == "resourcequotas":
        plane.wait(lambda: plane.call("GET", f"{path}/strict").body.get("status", {}).get("used"), "the quota's status")


def create(
    plane: ControlPlane, namespace: str, resources: dict[str, Any], wishes: dict[str, str] | None = None, **spec: Any
) -> Answer:
    given = pod(wishes or {}, **spec)
    given["spec"]["containers"][0]["resources"] = resources
    return plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", given)


def ways() -> list[dict[str, str]]:
    """The annotations of a pod whose namespace asks for the sidecar, and of one that asks itself."""
    return [{}, {"inject": "true"}]


INJECTED = {
    "quota on limits.cpu": (quota(limits_cpu="2"), BURSTABLE),
    "quota on everything": (
        quota(limits_cpu="2", limits_memory="4Gi", requests_cpu="2", requests_memory="2Gi"),
        BURSTABLE,
    ),
    "defaults below 50m": (limit_range(default={"cpu": "40m"}, defaultRequest={"cpu": "20m"}), {}),
    "max of memory": (limit_range(max={"memory": "256Mi"}), BURSTABLE),
    "max of cpu": (limit_range(max={"cpu": "100m"}), BURSTABLE),
    "min": (limit_range(min={"cpu": "60m", "memory": "150Mi"}), {"requests": {"cpu": "60m", "memory": "150Mi"}}),
    "ratio": (limit_range(maxLimitRequestRatio={"cpu": "2", "memory": "1"}), BURSTABLE),
    "max of a pod": (limit_range(type="Pod", max={"memory": "400Mi", "cpu": "200m"}), BURSTABLE),
    "ratio of local storage": (
        limit_range(maxLimitRequestRatio={"ephemeral-storage": "2"}),
        {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}},
    ),
    "min and max of local storage": (
        limit_range(min={"ephemeral-storage": "256Mi"}, max={"ephemeral-storage": "2Gi"}),
        {"limits": {"ephemeral-storage": "1Gi"}},
    ),
    "quota for the best effort only": (quota(["BestEffort"], pods="1"), {}),
    "ratio of a pod": (limit_range(type="Pod", maxLimitRequestRatio={"memory": "2"}), GUARANTEED),
}
SKIPPED = {
    "too little memory": (limit_range(max={"memory": "100Mi"}), BURSTABLE),
    "too little cpu": (limit_range(max={"cpu": "40m"}), BURSTABLE),
    "a small pod": (limit_range(type="Pod", max={"memory": "100Mi"}), BURSTABLE),
    "no quota left": (quota(requests_memory="100Mi"), BURSTABLE),
    "no pod with requests": (quota(["NotBestEffort"], pods="0"), {}),
    "no limits left": (quota(limits_memory="100Mi"), BURSTABLE),
}


@pytest.fixture(params=INJECTED)
def roomy(request: pytest.FixtureRequest, plane: ControlPlane) -> tuple[str, dict[str, Any]]:
    demanded, resources = INJECTED[request.param]
    namespace = plane.namespace(f"roomy-{list(INJECTED).index(request.param)}", inject="enabled")
    demand(plane, namespace, *demanded)
    return namespace, resources


def test_the_sidecar_is_fitted(plane: ControlPlane, webhook: Replica, roomy: tuple[str, dict[str, Any]]) -> None:
    namespace, resources = roomy
    for wishes in ways():
        answer = create(plane, namespace, resources, wishes)
        assert answer.status == 201, answer.message
        assert sidecar(answer.body), answer.warnings


@pytest.mark.parametrize("name", SKIPPED)
def test_what_does_not_fit_starts_without(name: str, plane: ControlPlane, webhook: Replica) -> None:
    demanded, resources = SKIPPED[name]
    namespace = plane.namespace(f"tight-{list(SKIPPED).index(name)}", inject="enabled")
    demand(plane, namespace, *demanded)
    answer = create(plane, namespace, resources)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body) is None
    assert any("the sidecar does not fit" in warning for warning in answer.warnings), answer.warnings


def test_a_guaranteed_pod_stays_guaranteed(plane: ControlPlane, webhook: Replica) -> None:
    namespace = plane.namespace("guaranteed", inject="enabled")
    answer = create(plane, namespace, GUARANTEED)
    assert sidecar(answer.body)
    assert answer.body["status"]["qosClass"] == "Guaranteed"


WHOLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "some room": (
        {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        BURSTABLE,
    ),
    "no room": ({"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "40m", "memory": "64Mi"}}, BURSTABLE),
    "limits only": ({"limits": {"cpu": "100m", "memory": "100Mi"}}, {}),
    "guaranteed": ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, {}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_pod_with_resources_as_a_whole(name: str, plane: ControlPlane, webhook: Replica) -> None:
    """Since 1.34; an older API server drops the field."""
    whole, own = WHOLE[name]
    namespace = plane.namespace(f"whole-{list(WHOLE).index(name)}", inject="enabled")
    alone = plane.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", _with(own, whole))
    assert alone.status == 201, alone.message
    for wishes in ways():
        answer = plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", _with(own, whole, wishes))
        assert answer.status == 201, answer.message
        assert sidecar(answer.body), answer.warnings
        if "resources" in alone.body["spec"]:
            assert answer.body["status"]["qosClass"] == alone.body["status"]["qosClass"]


def _with(own: dict[str, Any], whole: dict[str, Any], wishes: dict[str, str] | None = None) -> dict[str, Any]:
    given = pod(wishes or {}, resources=whole)
    given["spec"]["containers"][0]["resources"] = own
    return given


def test_the_restricted_level(plane: ControlPlane, webhook: Replica) -> None:
    plane.namespace("restricted", inject="enabled")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    plane.call("PATCH", "/api/v1/namespaces/restricted", label, kind="application/merge-patch+json")
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    given = pod({"inject": "true"}, securityContext=security)
    mine = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    given["spec"]["containers"][0]["securityContext"] = mine
    answer = plane.call("POST", "/api/v1/namespaces/restricted/pods?dryRun=All", given)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body)


TOGETHER: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any], dict[str, Any], bool]] = {
    "a default of local storage and a quota": (
        [limit_range(default={"ephemeral-storage": "1Gi"}), quota(limits_ephemeral__storage="1500Mi")],
        {},
        {},
        True,
    ),
    "a smaller quota": (
        [limit_range(default={"ephemeral-storage": "1Gi"}), quota(limits_ephemeral__storage="1100Mi")],
        {},
        {},
        False,
    ),
    "a pod's own resources and a minimum": (
        [limit_range(min={"cpu": "60m"})],
        {"requests": {"cpu": "60m"}},
        {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
        False,
    ),
    "a pod's own resources and a default": (
        [limit_range(default={"cpu": "20m"}, defaultRequest={"cpu": "10m"})],
        {},
        {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
        True,
    ),
    "a quota of pods with affinity to other namespaces": (
        [
            (
                "resourcequotas",
                {
                    "metadata": {"name": "strict"},
                    "spec": {"hard": {"pods": "0"}, "scopes": ["CrossNamespacePodAffinity"]},
                },
            )
        ],
        BURSTABLE,
        {},
        True,
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_demands_that_meet_only_together(name: str, plane: ControlPlane, webhook: Replica) -> None:
    """Whatever the rules are, a pod that can be created without the sidecar can be created in a labelled namespace."""
    demands, resources, whole, fits = TOGETHER[name]
    namespace = plane.namespace(f"together-{list(TOGETHER).index(name)}", inject="enabled")
    for each in demands:
        demand(plane, namespace, *each)
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    alone = plane.call("POST", path, _with(resources, whole, {"inject": "false"}))
    assert alone.status == 201, alone.message
    answer = plane.call("POST", path, _with(resources, whole))
    assert answer.status == 201, answer.message
    if whole and "resources" not in alone.body["spec"]:
        return  # this API server does not know them yet
    assert bool(sidecar(answer.body)) is fits, answer.warnings


@pytest.mark.parametrize("wish", ["cpu-limit", "cpu-request"])
def test_a_guaranteed_pod_with_one_wish_stays_guaranteed(wish: str, plane: ControlPlane, webhook: Replica) -> None:
    answer = create(plane, "default", GUARANTEED, {"inject": "true", wish: "300m"})
    assert sidecar(answer.body), answer.message
    assert answer.body["status"]["qosClass"] == "Guaranteed"
