"""Certificate and caBundle on a real API server: emptied, replaced, applied by others; and the webhook's RBAC."""

import base64
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.injector import pki
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import SYSTEM, Installation, Replica

MERGE = "application/merge-patch+json"


def secret(installation: Installation) -> str:
    return f"/api/v1/namespaces/{installation.namespace}/secrets/{installation.name}-tls"


def emptied(installation: Installation) -> dict[str, Any]:
    """The configuration as a `kubectl replace` of the chart's own manifest leaves it."""
    found = installation.plane.call("GET", installation.webhooks).body
    for hook in found["webhooks"]:
        hook["clientConfig"].pop("caBundle", None)
    return found


def test_an_emptied_bundle_is_filled_at_once(plane: ControlPlane, installation: Installation, webhook: Replica) -> None:
    before = installation.bundles()
    started = time.monotonic()
    assert plane.call("PUT", installation.webhooks, emptied(installation)).status == 200
    plane.wait(lambda: installation.bundles() == before, "the bundle")
    plane.wait(installation.injects, "the webhook to be asked again")
    assert time.monotonic() - started < 10, "by the watch, not by the check of every half minute"


def test_an_emptied_secret_gets_the_pair_that_is_served(
    plane: ControlPlane, installation: Installation, webhook: Replica
) -> None:
    before, bundles = plane.call("GET", secret(installation)).body, installation.bundles()
    started = time.monotonic()
    assert plane.call("PUT", installation.webhooks, emptied(installation)).status == 200
    assert plane.call("PUT", secret(installation), {**before, "data": {}}).status == 200
    plane.wait(lambda: plane.call("GET", secret(installation)).body.get("data") == before["data"], "the pair")
    plane.wait(lambda: installation.bundles() == bundles, "the bundle")
    plane.wait(installation.injects, "the webhook to be asked again")
    assert time.monotonic() - started < 10


def test_a_deleted_secret_does_not_take_the_bundle_along(
    plane: ControlPlane, installation: Installation, webhook: Replica
) -> None:
    before, bundles = plane.call("GET", secret(installation)).body, installation.bundles()
    assert plane.call("DELETE", secret(installation)).status == 200
    assert plane.call("PUT", installation.webhooks, emptied(installation)).status == 200
    plane.wait(lambda: installation.bundles() == bundles, "the bundle")
    installation.install()
    plane.wait(lambda: plane.call("GET", secret(installation)).body.get("data") == before["data"], "the pair")


def test_it_does_what_it_may_and_may_what_it_does(
    plane: ControlPlane, installation: Installation, webhook: Replica
) -> None:
    account = f"system:serviceaccount:{SYSTEM}:{installation.name}"
    events = [each for each in plane.audit(user=account) if "objectRef" in each and "responseStatus" in each]
    done = [(each["verb"], each["objectRef"].get("resource"), each["responseStatus"]["code"]) for each in events]
    assert not [each for each in done if each[2] == 403]
    assert {each[:2] for each in done} <= {
        ("get", "secrets"), ("update", "secrets"), ("watch", "secrets"),
        ("get", "mutatingwebhookconfigurations"), ("patch", "mutatingwebhookconfigurations"),
        ("watch", "mutatingwebhookconfigurations"), ("list", "limitranges"), ("list", "resourcequotas"),
        ("create", "events"), ("get", "configmaps"),
    }  # fmt: skip


@pytest.fixture
def own(plane: ControlPlane, tmp_path: Path) -> Installation:
    """A release in a namespace of its own, with a given certificate."""
    namespace = plane.namespace(f"own-{time.monotonic_ns()}")
    return Installation(plane, "own", namespace)


def given_pair(installation: Installation, folder: Path) -> tuple[pki.Pair, Path]:
    """A pair in the Secret `given`, and its files as the kubelet would mount them."""
    made = pki.make([f"{installation.name}.{installation.namespace}.svc"], datetime.now(UTC), timedelta(days=30))
    files = {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": made.ca}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    path = f"/api/v1/namespaces/{installation.namespace}/secrets"
    installation.plane.make(path, {"metadata": {"name": "given"}, "data": data})
    return made, folder


def test_a_bundle_of_ones_own_after_ours_is_no_conflict(own: Installation, tmp_path: Path) -> None:
    """Helm 4 uses server-side apply, in which a field with another manager is a conflict."""
    made, folder = given_pair(own, tmp_path)
    mode = "injector.tls.mode=existingSecret,injector.tls.existingSecret=given"
    own.install("--set", mode)
    with own.replica(TLS_DIR=str(folder)):
        own.plane.wait(lambda: all(own.bundles()), "our bundle")
        found = own.plane.call("GET", own.webhooks).body["metadata"]
        own.plane.wait(
            lambda: (
                "media-cache-proxy"
                not in {
                    each["manager"] for each in own.plane.call("GET", own.webhooks).body["metadata"]["managedFields"]
                }
            ),
            f"nothing of it to be ours: {found}",
        )
        other = pki.union(made.ca, pki.make(["x"], datetime.now(UTC), timedelta(days=1)).ca)
        (folder / "bundle.pem").write_bytes(other)
        own.install("--set", mode, "--set-file", f"injector.tls.caBundle={folder / 'bundle.pem'}")
    assert {base64.b64decode(each) for each in own.bundles()} == {other}


def test_from_one_mode_to_the_other_and_back(own: Installation, tmp_path: Path) -> None:
    """The Secret belongs to cert-manager, and stays when the release is removed."""
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
    }
    for kind, plural in (("Certificate", "certificates"), ("Issuer", "issuers")):
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        spec = {"group": "cert-manager.io", "scope": "Namespaced", "names": names, "versions": [version]}
        body = {**crd, "metadata": {"name": f"{plural}.cert-manager.io"}, "spec": spec}
        own.plane.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        path = f"/apis/cert-manager.io/v1/namespaces/{own.namespace}/{plural}"
        own.plane.wait(lambda path=path: own.plane.call("GET", path).status == 200, f"the kind {kind}")
    cert_manager = "injector.tls.mode=certManager"
    own.install()
    own.install("--set", cert_manager)
    path = f"/apis/cert-manager.io/v1/namespaces/{own.namespace}/certificates/{own.name}"
    theirs = own.plane.call("GET", path).body["spec"]["secretName"]
    own.plane.make(f"/api/v1/namespaces/{own.namespace}/secrets", {"metadata": {"name": theirs}})
    own.install()
    own.install("--set", cert_manager)
    assert own.helm("uninstall", own.release).returncode == 0
    own.install()
    names = own.plane.call("GET", f"/api/v1/namespaces/{own.namespace}/secrets").body["items"]
    assert f"{own.name}-tls" in {each["metadata"]["name"] for each in names}


def test_without_the_right_to_patch_what_was_ours_is_let_be(own: Installation, tmp_path: Path) -> None:
    """That is the state after another mode, whose webhook had the right: the bundle now belongs to somebody else."""
    made, folder = given_pair(own, tmp_path)
    (folder / "bundle.pem").write_bytes(made.ca)
    mode = "injector.tls.mode=existingSecret,injector.tls.existingSecret=given"
    own.install("--set", mode, "--set-file", f"injector.tls.caBundle={folder / 'bundle.pem'}")
    change = {"metadata": {"labels": {"left": "behind"}}}
    as_us = f"{own.webhooks}?fieldManager=media-cache-proxy"
    assert own.plane.call("PATCH", as_us, change, kind=MERGE).status == 200
    with own.replica(TLS_DIR=str(folder)) as started:
        assert started.get("/readyz") == (200, "ok\n")
