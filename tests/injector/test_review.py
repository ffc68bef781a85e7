"""AdmissionReviews: requests as the API server sends them, responses as it accepts them."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.injector.patch import Request, decide
from proxy.injector.review import BadReview, answer
from proxy.injector.settings import InjectorSettings
from tests.injector.pods import GOLDEN, decision, load, patched, policy_of
from tests.injector.reviews import patch_of, review

SETTINGS = InjectorSettings()
POD = load(GOLDEN[0])["given"]["pod"]


def ask(question: Any) -> Any:
    return answer(json.dumps(question).encode(), (1, 35), SETTINGS)


@pytest.mark.parametrize(
    "path", [each for each in GOLDEN if "settings" not in load(each)["given"]], ids=lambda path: path.stem
)
def test_the_answer_to_a_golden_pod_is_its_decision(path: Path) -> None:
    given = load(path)["given"]
    expected = decision(given)
    major, minor = given["kubernetes"].split(".")
    found = answer(json.dumps(review(given["pod"])).encode(), (int(major), int(minor)), SETTINGS, policy_of(given))
    assert found.reason == expected.reason
    assert found.body["apiVersion"] == "admission.k8s.io/v1"
    response = found.body["response"]
    assert response["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert response["allowed"] is expected.allowed
    assert patch_of(found.body) == [each.as_json() for each in expected.operations]
    assert response.get("warnings", []) == list(expected.warnings)
    if expected.allowed:
        assert "status" not in response
    else:
        assert response["status"] == {"code": 400, "reason": "BadRequest", "message": expected.message}


def test_the_namespace_is_the_requests_and_the_name_may_be_a_beginning() -> None:
    pod = {**POD, "metadata": {**POD["metadata"], "namespace": ""}}
    found = ask(review(pod, namespace="blue"))
    assert found.pod == "blue/gateway-*"
    assert found.body["response"]["warnings"][0].startswith("REDIS_ADDR comes from Secret blue/media-cache-proxy")


def test_a_dry_run_is_answered_the_same() -> None:
    assert ask(review(POD, dryRun=True)).body == ask(review(POD)).body


@pytest.mark.parametrize(
    "more",
    [{"operation": "UPDATE"}, {"subResource": "ephemeralcontainers"},
     {"resource": {"group": "apps", "resource": "pods"}},
     {"resource": None}, {"resource": {"group": "", "resource": "services"}}],
)  # fmt: skip
def test_what_creates_no_pod_passes(more: dict[str, Any]) -> None:
    found = ask(review(POD, **more))
    assert (found.result, found.reason) == ("unchanged", "no-pod-creation")
    assert found.body["response"] == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}


def test_a_namespaces_wish_is_answered_with_what_is_wrong_in_it() -> None:
    question = review({"metadata": {"name": "shop", "labels": {"media-cache-proxy.io/inject": "ture"}}})
    question["request"]["resource"] = {"group": "", "version": "v1", "resource": "namespaces"}
    found = ask(question)
    assert (found.result, found.reason) == ("skipped", "namespace-wish")
    assert "'ture' is not understood" in found.body["response"]["warnings"][0]


@pytest.mark.parametrize("pod", [None, [], "x", {"metadata": []}, {"metadata": None, "spec": 1}])
def test_an_object_that_is_no_pod_passes_with_a_warning(pod: Any) -> None:
    assert ask(review({}, object=pod)).result == "skipped"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not an AdmissionReview"),
        (b'{"kind": "Pod"}', "the body is not an AdmissionReview"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "accepted: admission.k8s.io/v1"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "no request with a uid"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": 1}}', "with a uid"),
    ],
)
def test_what_is_no_review(body: bytes, message: str) -> None:
    with pytest.raises(BadReview) as caught:
        answer(body, (1, 35), SETTINGS)
    assert message in str(caught.value)


def test_an_update_gets_the_sidecars_address_again_and_nothing_else() -> None:
    """The update is a `kubectl apply` of the manifest; a pod that was never injected is not changed."""
    found = decide(POD, Request(namespace="shop", kubernetes=(1, 35)), SETTINGS)
    again = patched(POD, found)
    for given in (POD, again):
        assert patch_of(ask(review(given, operation="UPDATE")).body) == []
    again["spec"]["containers"][0]["env"][1] = {"name": "MEDIA_SERVICE_ADDR", "value": "media:50056"}
    (only,) = patch_of(ask(review(again, operation="UPDATE")).body)
    assert (only["op"], only["value"]["value"]) == ("replace", "127.0.0.1:50066")
