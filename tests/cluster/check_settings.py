"""Wrong chart values end the webhook's start: old replicas go on serving, and no pod is refused because of them."""

import json
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import Installation, pod, sidecar

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "limit below request": ({"resources": {"limits": {"memory": "100Mi"}}}, "SIDECAR_MEMORY_LIMIT: '100Mi' is below"),
    "request above limit": ({"resources": {"requests": {"memory": "1Gi"}}}, "SIDECAR_MEMORY_LIMIT: '512Mi' is below"),
    "ttl and stale": (
        {"extraEnv": [{"name": "CACHE_TTL", "value": "24h"}]},
        "CACHE_TTL: '24h' with CACHE_STALE_IF_ERROR",
    ),
    "value and extraEnv": (
        {"cacheTtl": "5h", "extraEnv": [{"name": "CACHE_STALE_IF_ERROR", "value": "20h"}]},
        "CACHE_TTL: '5h' with CACHE_STALE_IF_ERROR of '20h'",
    ),
    "too little memory": (
        {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}},
        "96Mi or more",
    ),
    "half a byte": ({"resources": {"requests": {"memory": "1Mi"}, "limits": {"memory": "512m"}}}, "96Mi or more"),
    "too little cpu": ({"resources": {"requests": {"cpu": "5m"}, "limits": {"cpu": "5m"}}}, "25m or more"),
    "tls on loopback": ({"extraEnv": [{"name": "LISTEN_TLS_CERT", "value": "/c"}]}, "reach it without TLS"),
    "a transport that is none": ({"extraEnv": [{"name": "TRANSPORT", "value": "http"}]}, "TRANSPORT: 'http' is not"),
    "an empty namespace": (
        {"extraEnv": [{"name": "CACHE_NAMESPACE", "value": "a b"}]},
        "CACHE_NAMESPACE: ",
    ),
    "tls of nothing": ({"extraEnv": [{"name": "REDIS_TLS_CERT", "value": "/c"}]}, "REDIS_TLS_KEY: '' does not go"),
    "a reference without a key": (
        {"extraEnv": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
        "a JSON list of EnvVar objects",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_ends_the_start(name: str, plane: ControlPlane) -> None:
    values, said = CONTRADICTIONS[name]
    namespace = plane.namespace(f"wrong-{list(CONTRADICTIONS).index(name)}")
    installation = Installation(plane, "wrong", namespace)
    installation.install("--set-json", f"sidecar={json.dumps(values)}")
    with installation.process() as started:
        plane.wait(lambda: not started.child.running, "its end")
        assert started.child.returncode == 2
        assert said in " ".join(started.child.stderr.split())


@pytest.fixture
def tuned(plane: ControlPlane) -> Installation:
    """A release of its own, which excludes what the first one serves."""
    namespace = plane.namespace("a-tuned")  # called before the first one: configurations are ordered by name
    found = Installation(plane, "tuned", namespace)
    only = [{"key": "tuned", "operator": "Exists"}]
    values = {"extraEnv": [{"name": "CACHE_STALE_IF_ERROR", "value": "20h"}]}
    found.install(
        "--set-json", f"sidecar={json.dumps(values)}", "--set-json", f"injector.namespaceSelector={json.dumps(only)}"
    )
    return found


def test_the_whole_of_a_pods_settings_is_looked_at(plane: ControlPlane, tuned: Installation) -> None:
    plane.namespace("tuned")
    label = {"metadata": {"labels": {"tuned": "yes"}}}
    plane.call("PATCH", "/api/v1/namespaces/tuned", label, kind="application/merge-patch+json")
    pods = "/api/v1/namespaces/tuned/pods?dryRun=All"
    with tuned.replica():
        plane.wait(lambda: tuned.injects("tuned"), "the webhook")
        wrong = plane.call("POST", pods, pod({"inject": "true", "cache-ttl": "5h"}))
        assert (wrong.status, wrong.body["code"]) == (400, 400)
        assert "media-cache-proxy.io/cache-ttl: with it the sidecar would not start: CACHE_TTL: '5h'" in wrong.message
        right = plane.call("POST", pods, pod({"inject": "true", "cache-ttl": "4h"}))
        assert right.status == 201, right.message
        assert sidecar(right.body)
    assert plane.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod({})).status == 201
