"""The golden pods of tests/injector on a real API server: the created pod is the one that results if the same server
gets the pod with the golden patch applied. Refusals are as the golden files say.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__
from proxy.injector.patch import NATIVE_STABLE
from proxy.injector.versions import parse_version
from tests.cluster.control_plane import Answer, ControlPlane
from tests.cluster.installation import Installation, Replica
from tests.injector.pods import GOLDEN, decision, expectation, load, patched

NAMESPACE = "shop"
"""The namespace of the golden files. It has opted in, as the pods need that do not ask for the sidecar themselves."""


def settings(path: Path) -> dict[str, str]:
    found: dict[str, str] = load(path)["given"].get("settings", {})
    return found


USUAL = [path for path in GOLDEN if not settings(path)]
SPECIAL = [path for path in GOLDEN if settings(path)]


@pytest.fixture(scope="module")
def shop(plane: ControlPlane, webhook: Replica) -> str:
    return plane.namespace(NAMESPACE, inject="enabled")


@pytest.fixture(scope="module")
def aside(plane: ControlPlane, webhook: Replica) -> str:
    """A namespace whose pods the webhook never gets."""
    if not plane.controllers:
        plane.call("POST", "/api/v1/namespaces/kube-system/serviceaccounts", {"metadata": {"name": "default"}})
    path = "/api/v1/namespaces/kube-system/serviceaccounts/default"
    plane.wait(lambda: plane.call("GET", path).status == 200, "the account of kube-system")
    return "kube-system"


def case(path: Path, plane: ControlPlane) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod and what must come out of it on this server: as written, if it has native sidecars like the file's."""
    found = load(path)
    given = found["given"]
    if (parse_version(given["kubernetes"]) >= NATIVE_STABLE) is (plane.version >= NATIVE_STABLE):
        return given, found["expect"]
    given = {**given, "kubernetes": "{}.{}".format(*plane.version)}
    return given, expectation(decision(given))


def created(plane: ControlPlane, namespace: str, pod: dict[str, Any]) -> Answer:
    return plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)


def settled(found: dict[str, Any]) -> Any:
    """A pod without the fields that differ each time it is created, and with its volumes by name."""
    text = re.sub(r"kube-api-access-\w{5}", "kube-api-access", json.dumps(found))
    pod = json.loads(text)
    pod["spec"].get("volumes", []).sort(key=lambda each: each["name"])
    kept = {key: pod["metadata"].get(key) for key in ("annotations", "labels", "ownerReferences")}
    return {"metadata": kept, "spec": pod["spec"]}


def check(path: Path, plane: ControlPlane, shop: str, aside: str) -> None:
    given, expect = case(path, plane)
    if "policy" in given:
        body = {"metadata": {"name": "shop"}, "data": dict.fromkeys(("policy.yaml", "plan.yaml"), given["policy"])}
        plane.call("DELETE", f"/api/v1/namespaces/{shop}/configmaps/shop")
        plane.make(f"/api/v1/namespaces/{shop}/configmaps", body)
    answer = created(plane, shop, given["pod"])
    if not expect["allowed"]:
        assert (answer.status, answer.body["code"]) == (400, 400)
        denied = r'admission webhook "\w+\.media-cache-proxy\.io" denied the request: ' + re.escape(expect["message"])
        assert re.fullmatch(denied, answer.message), answer.message
        return
    assert answer.status == 201, answer.message
    reference = created(plane, aside, patched(given["pod"], decision(given)))
    assert reference.status == 201, reference.message
    said = [each.replace(__version__, "VERSION") for each in answer.warnings if each not in reference.warnings]
    assert said == expect.get("warnings", [])
    assert settled(answer.body) == settled(reference.body)


@pytest.mark.parametrize("path", USUAL, ids=lambda path: path.stem)
def test_a_golden_pod(path: Path, plane: ControlPlane, shop: str, aside: str) -> None:
    check(path, plane, shop, aside)


@pytest.fixture
def other_settings(plane: ControlPlane, shop: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """A second release with the settings of a golden file, which the API server calls first."""
    installation = Installation(plane, "golden", plane.namespace(f"a-golden-{SPECIAL.index(request.param)}"))
    only = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [shop]}]
    installation.install("--set-json", f"injector.namespaceSelector={json.dumps(only)}")
    variables = {f"SIDECAR_{name.upper()}": text for name, text in settings(request.param).items()}
    with installation.replica(**variables):
        plane.wait(lambda: installation.injects(shop), "the API server to trust the webhook")
        yield
    assert installation.helm("uninstall", installation.release).returncode == 0


@pytest.mark.parametrize(
    ("other_settings", "path"),
    [(each, each) for each in SPECIAL],
    ids=[each.stem for each in SPECIAL],
    indirect=["other_settings"],
)
@pytest.mark.usefixtures("other_settings")
def test_a_golden_pod_of_other_settings(path: Path, plane: ControlPlane, shop: str, aside: str) -> None:
    check(path, plane, shop, aside)
