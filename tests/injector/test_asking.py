"""What asks for the sidecar, and how it is understood."""

from typing import Any

import pytest

from proxy.injector.asking import asked
from proxy.injector.patch import Decision, Request, decide
from proxy.injector.settings import InjectorSettings

INJECT = "media-cache-proxy.io/inject"


def pod(annotation: Any = None, label: Any = None, **annotations: str) -> dict[str, Any]:
    app = {"name": "app", "image": "app:1", "env": [{"name": "MEDIA_SERVICE_ADDR", "value": "media:50056"}]}
    notes = {**annotations, **({INJECT: annotation} if annotation is not None else {})}
    labels = {INJECT: label} if label is not None else {}
    return {"metadata": {"name": "x", "annotations": notes, "labels": labels}, "spec": {"containers": [app]}}


def decided(given: dict[str, Any]) -> Decision:
    return decide(given, Request(namespace="shop", kubernetes=(1, 35)), InjectorSettings())


@pytest.mark.parametrize("word", ["true", "True", "TRUE", " true "])
def test_true_in_any_case_is_a_wish(word: str) -> None:
    found = decided(pod(word))
    assert (found.reason, found.asked) == ("injected", "pod")
    assert decided(pod(word, **{"media-cache-proxy.io/port": "1"})).allowed is False


@pytest.mark.parametrize("word", ["yes", "enabled", "on", "1", "", "ture"])
def test_what_is_no_answer_is_told(word: str) -> None:
    for given in (pod(word), pod(label=word)):
        found = decided(given)
        assert (found.allowed, found.operations) == (True, ())
        assert "is not understood; accepted: true, false" in found.warnings[0]


def test_a_label_is_heard_and_told() -> None:
    found = decided(pod(label="true"))
    assert (found.reason, found.asked) == ("injected", "label")
    assert "is a label of this pod; make it an annotation" in found.warnings[-1]
    assert decided(pod(label="true", **{"media-cache-proxy.io/port": "1"})).allowed is True
    off = decided(pod(label="False"))
    assert (off.reason, off.operations, len(off.warnings)) == ("opted-out", (), 1)


def test_the_annotation_goes_before_the_label() -> None:
    assert decided(pod("true", label="false")).reason == "injected"
    assert decided(pod("false", label="true")).reason == "opted-out"


def test_a_static_pod_is_let_alone() -> None:
    """The API server only has its mirror pod: changing it would show something that does not run, and denying it would
    stop nothing.
    """
    for given in (pod("true", **{"kubernetes.io/config.mirror": "x"}), pod(**{"kubernetes.io/config.mirror": "x"})):
        found = decided(given)
        assert (found.allowed, found.reason, found.operations) == (True, "static-pod", ())


@pytest.mark.parametrize("broken", [None, {}, {"metadata": []}, {"metadata": {"annotations": 1, "labels": 2}}], ids=str)
def test_what_is_no_pod_asks_for_nothing(broken: Any) -> None:
    assert asked(broken).by == "namespace"


MISTYPED = [
    "media-cache-proxy.io/Inject",
    "media-cache-proxy.io/injected",
    "media-cache-proxy.io/enabled",
    "Media-Cache-Proxy.io/inject",
    "sidecar.media-cache-proxy.io/inject",
    "sidecar.Media-Cache-Proxy.io/Inject",
    "media-cache-proxy/inject",
    "media-cache-proxy-inject",
    "media-cache.io/injection",
]
NOT_OURS = [
    "sidecar.istio.io/inject",
    "linkerd.io/inject",
    "container.apparmor.security.beta.kubernetes.io/media-cache-proxy",
    "audit.example.com/media-cache-injection-reviewed",
    "media-cache/team",
    "app.kubernetes.io/name",
]


@pytest.mark.parametrize("key", MISTYPED)
@pytest.mark.parametrize("word", ["true", "false"])
def test_a_mistyped_key_is_a_wish_that_is_not_understood(key: str, word: str) -> None:
    """That includes a key that says no: a pod that might not want the sidecar does not get it from its namespace."""
    found = decided(pod(**{key: word}))
    assert (found.asked, found.reason, found.operations) == ("pod", "unknown-annotation", ())
    assert found.warnings[0].startswith(f"not injected: {key}: is unknown; ")
    assert "inject" in found.warnings[0].partition("is unknown")[2]


def test_a_mistyped_label_is_one_too() -> None:
    given = pod()
    given["metadata"]["labels"] = {"sidecar.media-cache-proxy.io/inject": "true"}
    found = decided(given)
    assert found.asked == "pod"
    assert "did you mean the annotation media-cache-proxy.io/inject?" in found.warnings[0]


@pytest.mark.parametrize("key", NOT_OURS)
def test_what_is_not_ours_is_let_be(key: str) -> None:
    assert decided(pod(**{key: "true"})).reason == "injected"


def test_other_annotations_as_labels_are_told() -> None:
    """They are not read on labels, whatever asks for the sidecar."""
    given = pod("true")
    given["metadata"]["labels"] = {"media-cache-proxy.io/cache-ttl": "5m"}
    found = decided(given)
    assert found.reason == "injected"
    said = "media-cache-proxy.io/cache-ttl: is a label of this pod; make it an annotation"
    assert said in found.warnings[-1]
    given["metadata"]["annotations"] = {}
    assert said in decided(given).warnings[0]


def test_a_prefix_in_upper_case_is_refused_beside_a_wish() -> None:
    found = decided(pod("true", **{"Media-Cache-Proxy.io/upstream": "m:1"}))
    assert not found.allowed
    assert found.message.startswith("Media-Cache-Proxy.io/upstream: is unknown")
