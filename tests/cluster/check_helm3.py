"""Helm 3, which merges on the client's side and replaces with --force; a change to Helm 4 and back; and no Helm."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.chart.tools import CHART, run
from tests.cluster.check_certificates import secret
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import Installation

ONLY = "helm3"
"""The label of the only namespace that these releases handle."""


@pytest.fixture
def three(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """A release by Helm 3 in a namespace of its own, only for that namespace; the API server calls it before others."""
    number = sum(ord(each) for each in request.node.name)
    namespace = plane.namespace(f"a-three-{number}")
    label = {"metadata": {"labels": {ONLY: namespace}}}
    plane.call("PATCH", f"/api/v1/namespaces/{namespace}", label, kind="application/merge-patch+json")
    found = Installation(plane, "three", namespace, ONLY)
    yield found
    found.helm("uninstall", found.release, "--ignore-not-found")


def only(installation: Installation) -> list[str]:
    """The value that restricts the release to its own namespace."""
    chosen = [{"key": ONLY, "operator": "In", "values": [installation.namespace]}]
    return ["--set-json", f"injector.namespaceSelector={json.dumps(chosen)}"]


def upgraded(installation: Installation, *more: str, verb: str = "upgrade") -> str:
    return installation.install(*only(installation), *more, verb=(verb,))


def injects(installation: Installation) -> Callable[[], bool]:
    return lambda: installation.injects(installation.namespace)


def left(installation: Installation) -> list[str]:
    """The objects of the release that exist."""
    kinds = "deployment,service,secret,configmap,serviceaccount,role,rolebinding,poddisruptionbudget"
    every = f"{kinds},clusterrole,clusterrolebinding,mutatingwebhookconfiguration"
    selector = f"app.kubernetes.io/instance={installation.release}"
    done = installation.kubectl("get", every, "-n", installation.namespace, "-l", selector, "-o", "name")
    assert done.returncode == 0, done.stderr
    return [each for each in done.stdout.split() if "helm" not in each]


def test_a_release_by_helm_3_lives_and_ends(three: Installation) -> None:
    upgraded(three, verb="install")
    with three.replica():
        three.plane.wait(injects(three), "the webhook to be asked")
        bundles = three.bundles()
        upgraded(three, "--set", "sidecar.logLevel=debug")
        assert three.environment()["SIDECAR_LOG_LEVEL"] == "debug"
        assert three.bundles() == bundles, "the merge leaves alone what the chart does not render"
        assert injects(three)()
        done = three.helm("rollback", three.release, "1")
        assert done.returncode == 0, done.stderr
        assert three.environment()["SIDECAR_LOG_LEVEL"] == ""
        assert three.bundles() == bundles
        assert injects(three)()
    assert len(left(three)) >= 10
    done = three.helm("uninstall", three.release)
    assert done.returncode == 0, done.stderr
    assert left(three) == []


@pytest.mark.parametrize("verb", ["upgrade", "rollback"])
def test_forced_it_is_mended_at_once(verb: str, three: Installation) -> None:
    """Helm 3 then replaces objects: bundle and pair are gone, and the watch brings them back."""
    upgraded(three, verb="install")
    with three.replica():
        three.plane.wait(injects(three), "the webhook to be asked")
        pair, bundles = three.plane.call("GET", secret(three)).body["data"], three.bundles()
        if verb == "upgrade":
            upgraded(three, "--force", "--set", "sidecar.logLevel=debug")
        else:
            upgraded(three, "--set", "sidecar.logLevel=debug")
            done = three.helm("rollback", three.release, "1", "--force")
            assert done.returncode == 0, done.stderr
        three.plane.wait(lambda: three.bundles() == bundles, "the bundle", 10)
        three.plane.wait(lambda: three.plane.call("GET", secret(three)).body.get("data") == pair, "the pair", 10)
        three.plane.wait(injects(three), "the webhook to be asked again", 10)


def test_from_helm_3_to_helm_4_and_back(three: Installation) -> None:
    upgraded(three, verb="install")
    four = Installation(three.plane, three.release, three.namespace, "helm")
    with three.replica():
        three.plane.wait(injects(three), "the webhook to be asked")
        bundles = three.bundles()
        for each, level in ((four, "debug"), (three, "warning"), (four, "error")):
            upgraded(each, "--set", f"sidecar.logLevel={level}")
            assert each.environment()["SIDECAR_LOG_LEVEL"] == level
            assert each.bundles() == bundles
            assert injects(each)()
    done = four.helm("uninstall", four.release)
    assert done.returncode == 0, done.stderr
    assert left(three) == []


def rendered(installation: Installation, *more: str) -> str:
    arguments = ["--namespace", installation.namespace, "--skip-tests", "--kube-version", "1.30"]
    done = run(installation.program, "template", installation.release, CHART, *arguments, *only(installation), *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["helm", ONLY])
@pytest.mark.parametrize("how", [(), ("--server-side", "--field-manager=argocd-controller")], ids=["client", "server"])
def test_applied_without_helm(how: tuple[str, ...], program: str, three: Installation) -> None:
    """`helm template | kubectl apply`, as GitOps tools do it, repeated and with other values, while the webhook has
    fields of its own. No object depends on kubectl's current namespace.
    """
    three.program = program
    done = three.kubectl("apply", *how, "-f", "-", given=rendered(three))
    assert done.returncode == 0, done.stderr
    with three.replica():
        three.plane.wait(injects(three), "the webhook to be asked")
        bundles = three.bundles()
        for level in ("", "debug"):
            done = three.kubectl("apply", *how, "-f", "-", given=rendered(three, "--set", f"sidecar.logLevel={level}"))
            assert done.returncode == 0, done.stderr
            assert three.bundles() == bundles
            assert injects(three)()
        assert three.environment()["SIDECAR_LOG_LEVEL"] == "debug"
        done = three.kubectl("replace", "-f", "-", given=rendered(three))
        assert done.returncode == 0, done.stderr
        three.plane.wait(lambda: three.bundles() == bundles, "the bundle", 10)
        three.plane.wait(injects(three), "the webhook to be asked again", 10)
    done = three.kubectl("delete", "-f", "-", given=rendered(three))
    assert done.returncode == 0, done.stderr
