"""The patch: every golden pod comes out as written, and no pod makes the function fail."""

import copy
from pathlib import Path
from typing import Any

import jsonpatch
import kubernetes_validate
import pytest

from proxy.injector.patch import Request, decide
from proxy.injector.settings import InjectorSettings
from tests.injector.pods import GOLDEN, complete, decision, expectation, load, patched

SETTINGS = InjectorSettings()
NEW = Request(namespace="shop", kubernetes=(1, 35))
SUPPORTED = ("1.30", kubernetes_validate.latest_version())


def pod(annotations: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A small pod that asks for the sidecar."""
    app = {"name": "app", "image": "app:1", "env": [{"name": "MEDIA_SERVICE_ADDR", "value": "media:50056"}]}
    wishes = {f"media-cache-proxy.io/{name}": text for name, text in (annotations or {"inject": "true"}).items()}
    return {"metadata": {"name": "x", "annotations": wishes}, "spec": {"containers": [app], **spec}}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_pod_comes_out_as_written(path: Path) -> None:
    case = load(path)
    before = copy.deepcopy(case["given"]["pod"])
    assert expectation(decision(case["given"])) == case["expect"]
    assert case["given"]["pod"] == before


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_patched_golden_pod_is_valid_and_needs_no_second_patch(path: Path) -> None:
    given = load(path)["given"]
    found = decision(given)
    result = patched(given["pod"], found)
    for version in SUPPORTED:
        kubernetes_validate.validate(complete(result), version, strict=True)
    if found.operations:
        again = decision({**given, "pod": result})
        assert (again.reason, again.operations) == ("already-injected", ())
        as_others_apply_it = jsonpatch.apply_patch(given["pod"], [each.as_json() for each in found.operations])
        assert as_others_apply_it == result


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"spec": None},
        {"spec": {"containers": []}},
        {"spec": {"containers": {"name": "x"}}},
        {"spec": {"containers": [{"image": "x"}]}},
        {"metadata": {"annotations": []}, "spec": {"containers": [{"name": "x", "env": [{"value": "1"}]}]}},
        {"spec": {"containers": [{"name": "x", "ports": [{"containerPort": True}]}]}},
    ],
    ids=str,
)
def test_what_is_no_pod_passes_with_a_warning(broken: Any) -> None:
    found = decide(broken, NEW, SETTINGS)
    assert (found.allowed, found.reason, found.operations) == (True, "malformed", ())
    assert found.warnings[0].startswith("not injected: pod")


def test_nulls_are_absent() -> None:
    given = pod()
    given["metadata"]["labels"] = None
    given["spec"]["initContainers"] = None
    found = decide(given, NEW, SETTINGS)
    result = patched(given, found)
    assert result["metadata"]["labels"] == {"media-cache-proxy.io/injected": "true"}
    assert [each["name"] for each in result["spec"]["initContainers"]] == ["media-cache-proxy"]


def test_without_metadata_it_is_made() -> None:
    given = {"metadata": None, "spec": pod()["spec"]}
    result = patched(given, decide(given, NEW, SETTINGS))
    assert result["metadata"]["labels"] == {"media-cache-proxy.io/injected": "true"}


def test_with_upstream_a_container_without_environment_gets_one() -> None:
    given = pod({"inject": "true", "upstream": "media:1"}, containers=[{"name": "app", "image": "app:1"}])
    result = patched(given, decide(given, NEW, SETTINGS))
    assert result["spec"]["containers"][0]["env"] == [{"name": "MEDIA_SERVICE_ADDR", "value": "127.0.0.1:50066"}]


def test_a_value_of_inject_that_is_neither_passes_with_a_warning() -> None:
    found = decide(pod({"inject": "yes"}), NEW, SETTINGS)
    assert found.allowed
    assert not found.operations
    assert found.warnings == (
        "not injected: media-cache-proxy.io/inject: 'yes' is not understood; accepted: true, false",
    )


def test_warnings_are_never_longer_than_the_api_server_takes() -> None:
    given = pod({"unknown-" + "x" * 300: "1"})
    (warning,) = decide(given, NEW, SETTINGS).warnings
    assert len(warning) == 256


@pytest.mark.parametrize(
    ("kubernetes", "mode", "where"),
    [
        ((1, 32), "auto", "containers"),
        ((1, 33), "auto", "initContainers"),
        ((2, 0), "auto", "initContainers"),
        ((1, 29), "native", "initContainers"),
        ((1, 37), "container", "containers"),
    ],
)
def test_the_mode_follows_the_cluster(kubernetes: tuple[int, int], mode: str, where: str) -> None:
    given = pod()
    request = Request(namespace="shop", kubernetes=kubernetes)
    result = patched(given, decide(given, request, InjectorSettings(mode=mode)))
    assert "media-cache-proxy" in [each["name"] for each in result["spec"][where]]


def test_native_where_the_cluster_knows_it_not_is_refused() -> None:
    given = pod({"inject": "true", "mode": "native"})
    found = decide(given, Request(namespace="shop", kubernetes=(1, 28)), SETTINGS)
    assert (found.allowed, found.reason) == (False, "mode")
    assert found.message == (
        "media-cache-proxy.io/mode: native sidecars need Kubernetes 1.29, this is 1.28; set container"
    )


def test_a_template_of_a_job_counts_as_a_job() -> None:
    request = Request(namespace="shop", kubernetes=(1, 30), job=True)
    assert decide(pod(), request, SETTINGS).reason == "job"


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_one_that_runs_to_its_end_counts_as_a_job_in_container_mode(policy: str) -> None:
    """The pods of Argo's steps and CI runners, and bare pods, have no Job, but would never end either."""
    given = pod(restartPolicy=policy)
    old = Request(namespace="shop", kubernetes=(1, 30))
    found = decide(given, old, SETTINGS)
    assert (found.allowed, found.reason) == (False, "job")
    assert "this pod would never end" in found.message
    allowed = decide(pod({"inject": "true", "allow-jobs": "true"}, restartPolicy=policy), old, SETTINGS)
    assert "in container mode the sidecar keeps this pod running when its own containers have ended" in allowed.warnings


def test_a_late_container_that_disagrees_with_the_sidecar_is_refused() -> None:
    given = pod()
    result = patched(given, decide(given, NEW, SETTINGS))
    late = {"name": "late", "image": "x", "env": [{"name": "MEDIA_SERVICE_ADDR", "value": "elsewhere:1"}]}
    result["spec"]["containers"].append(late)
    found = decide(result, NEW, SETTINGS)
    assert (found.allowed, found.reason) == (False, "disagreement")
    assert (
        "MEDIA_SERVICE_ADDR of late was changed after the sidecar had been added, by another webhook" in found.message
    )


def test_a_named_container_without_the_variable_is_refused() -> None:
    containers = [*pod()["spec"]["containers"], {"name": "log", "image": "log:1"}]
    found = decide(pod({"inject": "true", "containers": "app,log"}, containers=containers), NEW, SETTINGS)
    assert found.message == (
        "media-cache-proxy.io/upstream: in log the variable MEDIA_SERVICE_ADDR is not there; set this to the media "
        "service's address, or env to another variable's name"
    )


@pytest.mark.parametrize(
    ("address", "why"),
    [("unix:///run/media.sock", "is a socket in a volume"), ("xds:///media", "what the app is told of xDS")],
)
def test_an_address_that_only_the_app_can_reach_is_refused(address: str, why: str) -> None:
    given = pod()
    given["spec"]["containers"][0]["env"][0]["value"] = address
    found = decide(given, NEW, SETTINGS)
    assert (found.allowed, found.reason) == (False, "no-address")
    assert why in found.message


def test_a_second_installation_with_another_variable_lets_be_what_is_injected() -> None:
    given = pod()
    given["spec"]["containers"][0]["env"].append({"name": "OTHER", "value": "other:1"})
    result = patched(given, decide(given, NEW, SETTINGS))
    again = decide(result, NEW, InjectorSettings(env="OTHER"))
    assert (again.allowed, again.reason, again.operations) == (True, "already-injected", ())
