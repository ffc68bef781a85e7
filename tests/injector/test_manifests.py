"""`inject`: every kind of workload, with comments and order kept, and all documents or none."""

import io
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from proxy.injector import manifests
from proxy.injector.settings import InjectorSettings
from tests.injector.pods import app

SETTINGS = InjectorSettings()

DEPLOYMENT = """\
# The gateway.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: gateway   # as the others call it
spec:
  replicas: 2
  selector: {matchLabels: {app: gateway}}
  template:
    metadata:
      labels: {app: gateway}
    spec:
      containers:
        # the app itself
        - name: app
          image: "gateway:1"
          env:
            - name: PORT
              value: '8080'
            - name: MEDIA_SERVICE_ADDR   # swapped
              value: media:50056
            # last
            - {name: MODE, value: "off"}
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name:   odd}
data:
  text: |
    --- not a marker
    kind: Pod
"""


def inject(text: str, kubernetes: tuple[int, int] = (1, 37)) -> manifests.Injected:
    return manifests.inject(text, kubernetes, SETTINGS)


def load(text: str) -> list[Any]:
    return list(YAML(typ="safe").load_all(text))


def test_comments_order_and_style_are_kept() -> None:
    result = inject(DEPLOYMENT)
    assert result.injected == ["Deployment gateway"]
    lines = result.text.splitlines()
    removed = [line for line in DEPLOYMENT.splitlines() if line not in lines]
    assert removed == [
        "      labels: {app: gateway}",
        "              value: media:50056",
    ]
    assert lines[0] == "# The gateway."
    assert "            # last" in lines
    (document,) = load(result.text)
    kubernetes_validate.validate(document, "1.37", strict=True)


def test_documents_that_do_not_change_are_kept_byte_for_byte() -> None:
    result = inject(f"---\n{CONFIG_MAP}---\n{DEPLOYMENT}---  # tail\n{CONFIG_MAP}...\n")
    assert result.text.startswith(f"---\n{CONFIG_MAP}---\n# The gateway.\n")
    assert result.text.endswith(f"---  # tail\n{CONFIG_MAP}...\n")
    assert [each["kind"] for each in load(result.text)] == ["ConfigMap", "Deployment", "ConfigMap"]


def test_a_second_time_changes_nothing() -> None:
    once = inject(DEPLOYMENT).text
    again = inject(once)
    assert again.text == once
    assert again.injected == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"])
def test_every_kind_of_workload(kind: str) -> None:
    pod = {
        "spec": {"containers": [{"name": "app", "image": "a", "env": [{"name": "MEDIA_SERVICE_ADDR", "value": "m:1"}]}]}
    }
    spec: dict[str, Any] = {"template": pod}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    workload = {"kind": kind, "metadata": {"name": "x"}, **(pod if kind == "Pod" else {"spec": spec})}
    text = io.StringIO()
    YAML().dump(workload, text)
    (document,) = load(inject(text.getvalue()).text)
    template = document if kind == "Pod" else (document["spec"]["jobTemplate"] if kind == "CronJob" else document)
    template = template if kind == "Pod" else template["spec"]["template"]
    assert app(template, "app")["env"] == [{"name": "MEDIA_SERVICE_ADDR", "value": "127.0.0.1:50066"}]
    assert app(template, "media-cache-proxy")["restartPolicy"] == "Always"


def test_what_an_alias_shares_is_changed_only_where_it_should_be() -> None:
    text = """\
kind: Pod
metadata: {name: x, annotations: {media-cache-proxy.io/inject: "true", media-cache-proxy.io/containers: a}}
spec:
  containers:
  - name: a
    image: a
    env: &shared
    - {name: MEDIA_SERVICE_ADDR, value: "media:1"}
  - name: b
    image: b
    env: *shared
"""
    (pod,) = load(inject(text).text)
    assert app(pod, "a")["env"][0]["value"] == "127.0.0.1:50066"
    assert app(pod, "b")["env"][0]["value"] == "media:1"


def test_the_items_of_a_list() -> None:
    indented = "".join(f"    {line}\n" if line else "\n" for line in DEPLOYMENT.splitlines()[1:])
    result = inject("kind: List\napiVersion: v1\nitems:\n  - " + indented.lstrip())
    assert result.injected == ["Deployment gateway"]


def test_texts_stay_texts_for_readers_of_yaml_1_1() -> None:
    settings = InjectorSettings(extra_env=({"name": "A", "value": "off"}, {"name": "B", "value": "1:30"}))
    text = manifests.inject(DEPLOYMENT, (1, 37), settings).text
    assert 'value: "off"' in text
    assert 'value: "1:30"' in text
    assert 'media-cache-proxy.io/injected: "true"' in text


def test_a_workload_that_cannot_have_it_passes_with_a_warning() -> None:
    text = DEPLOYMENT.replace("MEDIA_SERVICE_ADDR", "OTHER")
    result = inject(text)
    assert (result.text, result.errors) == (text, [])
    assert result.warnings[0].startswith("Deployment gateway: not injected: media-cache-proxy.io/upstream: in app the")


def test_one_that_asks_and_cannot_have_it_is_an_error_and_nothing_is_made() -> None:
    asking = DEPLOYMENT.replace(
        "      labels: {app: gateway}", '      annotations: {media-cache-proxy.io/inject: "true"}'
    ).replace("media:50056", "http://media/")
    text = f"{DEPLOYMENT}---\n{asking}"
    result = inject(text)
    assert result.text == text
    assert len(result.errors) == 1


def test_an_annotation_without_quotes_is_named() -> None:
    text = DEPLOYMENT.replace(
        "labels: {app: gateway}\n    spec", "annotations: {media-cache-proxy.io/inject: true}\n    spec"
    )
    assert inject(text).errors == [
        "Deployment gateway: media-cache-proxy.io/inject: True is not a text; put it in quotes"
    ]


def test_jobs_in_container_mode_are_left_alone() -> None:
    text = DEPLOYMENT.replace("kind: Deployment", "kind: Job")
    assert inject(text, (1, 30)).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# only a comment\n",
        "--- \n",
        "plain\n",
        "- a\n",
        "kind: Deployment\n",
        "kind: [1]\n",
        "kind: Pod\nmetadata: []\n",
    ],
)
def test_what_holds_no_pod_is_kept(text: str) -> None:
    assert inject(text).text == text


@pytest.mark.parametrize("text", ["a: [\n", "a: 1\na: 2\n", "\t\n", "a: \x00\n", "a: !!python/object:x 1\n: ["])
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    with pytest.raises(manifests.BadManifest, match=r"^document 1: [^\n]+$"):
        inject(text)
