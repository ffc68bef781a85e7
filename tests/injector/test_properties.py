"""Properties of the patch for generated pods: it is idempotent and valid, keeps the app, and replaces each address."""

import copy
from typing import Any

import kubernetes_validate
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.injector.names import CONTAINER, DEFAULT_CONTAINER, INJECTED, NO_TOKEN_VOLUME, STATUS
from proxy.injector.patch import Request, decide
from proxy.injector.settings import InjectorSettings
from tests.injector.pods import app, complete, patched

VARIABLE = "MEDIA_SERVICE_ADDR"
SETTINGS = InjectorSettings(image_pull_secrets=("registry", "other"))

sources = st.sampled_from(
    [
        {"value": "media:50056"},
        {"value": "dns:///media.shop:50056"},
        {"value": "passthrough:///10.0.0.1:1"},
        {"value": "$(HOST):50056"},
        {"value": "$(A)$(HOST):$$(A)"},
        {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "media"}}},
        {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"value": ""},
    ]
)
entries = st.builds(
    lambda name, source: {"name": name, **source}, st.sampled_from(["A", "HOST", "X", VARIABLE, "LOG_LEVEL"]), sources
)
ports = st.builds(
    lambda port, protocol: {"containerPort": port, **protocol},
    st.sampled_from([80, 8080, 9464, 9465, 9901, 50066, 50067]),
    st.sampled_from([{}, {"protocol": "UDP"}, {"protocol": "TCP"}]),
)


def _container(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"name": st.just(name), "image": st.just("app:1")},
        optional={
            "env": st.lists(entries, max_size=5),
            "ports": st.lists(ports, max_size=3),
            "envFrom": st.just([{"secretRef": {"name": "s"}}]),
            "args": st.just([f"--media=$({VARIABLE})"]),
        },
    )


names = ["one", "two", "three"]
WISHES = {
    "inject": ["true", "true", "false", "nonsense"],
    "upstream": ["media:1", "dns:///media.shop:2"],
    "port": ["9464", "6000"],
    "containers": ["one"],
    "mode": ["native", "container"],
    "cache-ttl": ["1h"],
    "redis-addr": ["", "redis:1"],
    "allow-jobs": ["true"],
}
annotations = st.fixed_dictionaries(
    {}, optional={f"media-cache-proxy.io/{name}": st.sampled_from(texts) for name, texts in WISHES.items()}
)
pods = st.builds(
    lambda metadata, spec, annotations: {"metadata": {**metadata, **annotations}, "spec": spec},
    st.fixed_dictionaries({"name": st.just("x")}, optional={"labels": st.just({"app": "x"})}),
    st.fixed_dictionaries(
        {"containers": st.integers(1, 3).flatmap(lambda n: st.tuples(*map(_container, names[:n])).map(list))},
        optional={
            "initContainers": st.tuples(_container("first"), _container("second")).map(list),
            "imagePullSecrets": st.just([{"name": "registry"}]),
            "restartPolicy": st.sampled_from(["Never", "Always"]),
        },
    ),
    st.fixed_dictionaries({}, optional={"annotations": annotations}),
)
requests = st.builds(
    lambda minor: Request(namespace="shop", kubernetes=(1, minor)), st.sampled_from([28, 30, 32, 33, 37])
)


def _without_ours(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod without everything that injecting may add or change."""
    pod = copy.deepcopy(pod)
    for kind, ours in (("annotations", (STATUS, DEFAULT_CONTAINER)), ("labels", (INJECTED,))):
        kept = {key: value for key, value in (pod["metadata"].get(kind) or {}).items() if key not in ours}
        pod["metadata"][kind] = kept
    spec = pod["spec"]
    for group in ("containers", "initContainers"):
        spec[group] = [each for each in spec.get(group) or () if each["name"] != CONTAINER]
        for container in spec[group]:
            container["env"] = [entry for entry in container.get("env") or () if entry["name"] != VARIABLE]
    spec["volumes"] = [each for each in spec.get("volumes") or () if each["name"] != NO_TOKEN_VOLUME]
    spec["imagePullSecrets"] = [each for each in spec.get("imagePullSecrets") or () if each["name"] == "registry"]
    spec["imagePullSecrets"] = spec["imagePullSecrets"][:1]
    return pod


@settings(max_examples=300, deadline=None)
@given(pods, requests)
def test_injecting_is_safe_for_any_pod(pod: dict[str, Any], request: Request) -> None:
    before = copy.deepcopy(pod)
    found = decide(pod, request, SETTINGS)
    assert pod == before, "the pod itself is never changed"
    if not found.operations:
        assert found.allowed is (not found.message)
        return
    result = patched(pod, found)
    kubernetes_validate.validate(complete(result), "1.37", strict=True)

    again = decide(result, request, SETTINGS)
    assert (again.reason, again.operations) == ("already-injected", ())

    kept = {**_without_ours(before), "metadata": _without_ours(before)["metadata"]}
    kept_secrets = kept["spec"].pop("imagePullSecrets")
    left = _without_ours(result)
    assert left["spec"].pop("imagePullSecrets") in (kept_secrets, [{"name": "registry"}])
    assert left == kept
    _check_swap(before, result, native="initContainers" in _groups_with_sidecar(result))
    pulled = [each["name"] for each in result["spec"]["imagePullSecrets"]]
    assert sorted(pulled) == ["other", "registry"]


def _groups_with_sidecar(pod: dict[str, Any]) -> list[str]:
    groups = [
        group
        for group in ("containers", "initContainers")
        for each in pod["spec"].get(group) or ()
        if each["name"] == CONTAINER
    ]
    assert len(groups) == 1, "exactly one sidecar"
    return groups


def _check_swap(before: dict[str, Any], result: dict[str, Any], *, native: bool) -> None:
    port = app(result, CONTAINER)["ports"][0]["containerPort"]
    declared = {
        each["containerPort"]
        for group in ("containers", "initContainers")
        for container in before["spec"].get(group) or ()
        for each in container.get("ports") or ()
        if each.get("protocol", "TCP") == "TCP"
    }
    assert port not in declared
    named = before["metadata"].get("annotations", {}).get("media-cache-proxy.io/containers")
    for group in ("initContainers", "containers"):
        for container in before["spec"].get(group) or ():
            old = [entry for entry in container.get("env") or () if entry["name"] == VARIABLE]
            new = [entry for entry in app(result, container["name"]).get("env") or () if entry["name"] == VARIABLE]
            if (group == "initContainers" and not native) or (named and container["name"] != named):
                assert new == old
                continue
            assert all(set(entry) == {"name", "value"} for entry in new)
            assert all(entry["value"].endswith(f"127.0.0.1:{port}") for entry in new)
            assert len(new) >= len(old)
            for index, entry in enumerate(container.get("env") or ()):
                if old and entry["name"] == VARIABLE:
                    there = app(result, container["name"])["env"][index]
                    scheme = (entry.get("value") or "").partition("///")[0]
                    assert there["value"].startswith(f"{scheme}///") == ("///" in (entry.get("value") or ""))
