"""Wishes in any spelling are understood or reported, and reasons reach the people who look for them."""

from typing import Any

import pytest

from tests.cluster.control_plane import Answer, ControlPlane
from tests.cluster.installation import Installation, Replica, pod, sidecar
from tests.injector.test_asking import MISTYPED

INJECT = "media-cache-proxy.io/inject"


def create(plane: ControlPlane, given: dict[str, Any], namespace: str = "default", dry: bool = True) -> Answer:
    return plane.call("POST", f"/api/v1/namespaces/{namespace}/pods{'?dryRun=All' if dry else ''}", given)


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_true_in_any_case(word: str, plane: ControlPlane, webhook: Replica) -> None:
    assert sidecar(create(plane, pod({"inject": word})).body)


@pytest.mark.parametrize("word", ["yes", "enabled", "on", "ture", ""])
def test_what_is_no_answer_is_told(word: str, plane: ControlPlane, webhook: Replica) -> None:
    answer = create(plane, pod({"inject": word}))
    assert answer.status == 201
    assert any("is not understood; accepted: true, false" in warning for warning in answer.warnings), answer.warnings


@pytest.mark.parametrize("word", ["true", "yes"])
def test_a_label_is_told(word: str, plane: ControlPlane, webhook: Replica) -> None:
    given = pod({})
    given["metadata"]["labels"] = {INJECT: word}
    answer = create(plane, given)
    assert any("is a label of this pod; make it an annotation" in warning for warning in answer.warnings)
    assert bool(sidecar(answer.body)) is (word == "true")


SAFE_LABELS = [key for key in MISTYPED if key.partition("/")[0].islower() and key != "media-cache-proxy.io/injected"]


@pytest.mark.parametrize(
    ("group", "key"),
    [("annotations", each) for each in MISTYPED] + [("labels", each) for each in SAFE_LABELS],
)
def test_a_mistyped_key_is_told_where_nobody_opted_in(
    group: str, key: str, plane: ControlPlane, webhook: Replica
) -> None:
    """The API server's own CEL finds it; it accepts capitals in the prefix of an annotation, but not of a label."""
    given = pod({})
    given["metadata"][group] = {key: "true"}
    answer = create(plane, given)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body) is None
    assert any(f"not injected: {key}: is unknown" in warning for warning in answer.warnings), answer.warnings


def test_who_labels_a_namespace_in_other_words_is_told(
    plane: ControlPlane, installation: Installation, webhook: Replica
) -> None:
    """Kubectl shows the warning at once; a word that is understood brings none."""
    plane.namespace("mislabelled")
    for word, said in (("ture", "'ture' is not understood; accepted: enabled, disabled"), ("enabled", "")):
        done = installation.kubectl("label", "--overwrite", "namespace", "mislabelled", f"{INJECT}={word}")
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert bool(said) is ("Warning" in done.stderr)
    done = installation.kubectl("annotate", "namespace", "mislabelled", f"{INJECT}=true")
    assert "is an annotation of this namespace; make it a label" in done.stderr


def test_a_part_that_may_go_without_the_sidecar_reaches_people(plane: ControlPlane, webhook: Replica) -> None:
    namespace = plane.namespace("partly")
    given = owned(plane, namespace, pod())
    given["spec"]["containers"].append(
        {"name": "worker", "image": "worker:1", "envFrom": [{"configMapRef": {"name": "settings"}}]}
    )
    answer = create(plane, given, namespace, dry=False)
    assert sidecar(answer.body), answer.message
    plane.wait(lambda: events(plane, namespace, "SidecarNotUsed"), "an Event")
    (event,) = events(plane, namespace, "SidecarNotUsed")
    assert "worker: MEDIA_SERVICE_ADDR may come from envFrom" in event["message"]


def test_who_does_not_ask_never_waits_for_the_webhook(plane: ControlPlane, webhook: Replica) -> None:
    def asked() -> str:
        text = webhook.get("/metrics")[1]
        name = "media_cache_injector_admission_duration_seconds_count"
        return next(line for line in text.splitlines() if line.startswith(name))

    before = asked()
    quiet = [pod({}), pod({"inject": "false"})]
    quiet[1]["metadata"]["labels"] = {INJECT: "true"}
    for given in quiet:
        assert create(plane, given).status == 201
    assert asked() == before


WORDS = ["enabled", "Enabled", "true", "True", "yes", "ON", "1"]


@pytest.mark.parametrize("word", WORDS)
def test_a_namespaces_label(word: str, plane: ControlPlane, webhook: Replica) -> None:
    namespace = plane.namespace(f"labelled-{WORDS.index(word)}", inject=word)
    assert sidecar(create(plane, pod({}), namespace).body)
    assert sidecar(create(plane, pod({"inject": "false"}), namespace).body) is None


def owned(plane: ControlPlane, namespace: str, given: dict[str, Any]) -> dict[str, Any]:
    """The pod as a ReplicaSet of that namespace creates it."""
    template = {"metadata": {"labels": {"app": "x"}}, "spec": given["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    uid = plane.make(path, {"metadata": {"name": "db"}, "spec": spec})["metadata"]["uid"]
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True, "name": "db", "uid": uid}
    metadata = {"annotations": given["metadata"].get("annotations"), "ownerReferences": [reference]}
    return {"metadata": {**metadata, "generateName": "db-"}, "spec": given["spec"]}


def events(plane: ControlPlane, namespace: str, reason: str) -> list[dict[str, Any]]:
    found = plane.call("GET", f"/api/v1/namespaces/{namespace}/events").body["items"]
    return [each for each in found if each["reason"] == reason]


def test_why_there_is_no_sidecar_reaches_people(plane: ControlPlane, webhook: Replica) -> None:
    """The admission's warning goes to a controller, which discards it."""
    namespace = plane.namespace("told", inject="enabled")
    given = owned(plane, namespace, {"metadata": {}, "spec": {"containers": [{"name": "db", "image": "db:1"}]}})
    assert create(plane, given, namespace).status == 201
    for _ in range(3):
        assert create(plane, given, namespace, dry=False).status == 201
    plane.wait(lambda: events(plane, namespace, "SidecarNotInjected"), "an Event")
    (event,) = events(plane, namespace, "SidecarNotInjected")
    assert event["involvedObject"]["uid"] == given["metadata"]["ownerReferences"][0]["uid"]
    assert "the variable MEDIA_SERVICE_ADDR is not there" in event["message"]
    counted = 'media_cache_injector_not_injected_total{asked="namespace",reason="no-address"}'
    assert counted + " 3.0" in webhook.get("/metrics")[1]
    assert '"reason":"no-address"' in webhook.child.stderr.replace(": ", ":")


def test_a_static_pods_mirror_is_let_alone(plane: ControlPlane, webhook: Replica) -> None:
    given = pod({"inject": "true"})
    given["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
    given["spec"] |= {"nodeName": "node", "automountServiceAccountToken": False}
    answer = create(plane, given)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body) is None


def test_the_sidecar_has_no_token(plane: ControlPlane, webhook: Replica) -> None:
    found = create(plane, pod()).body
    volumes = {each["name"]: each for each in found["spec"]["volumes"]}
    (mount,) = (sidecar(found) or {})["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert "emptyDir" in volumes[mount["name"]]
    app = found["spec"]["containers"][0]
    assert "projected" in volumes[app["volumeMounts"][0]["name"]]


def test_a_pod_of_more_than_a_mebibyte(plane: ControlPlane, webhook: Replica) -> None:
    given = pod()
    given["spec"]["containers"][0]["env"].append({"name": "BIG", "value": "x" * (1 << 20)})
    answer = create(plane, given)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body)
