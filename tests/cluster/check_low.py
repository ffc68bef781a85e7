"""Small annoyances: bare pods applied twice, a second release, notes that say what to do next."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import Installation, Replica, pod, sidecar


def manifest(name: str, address: str = "media:50056") -> str:
    """A pod's manifest as a person has it in a file."""
    found = pod({"inject": "true", "mode": "native"}, name)
    found["spec"]["containers"][0]["env"][0]["value"] = address
    return json.dumps({"apiVersion": "v1", "kind": "Pod", **found})


@pytest.mark.parametrize("how", [(), ("--server-side", "--field-manager=me")], ids=["client side", "server side"])
def test_a_bare_pod_is_applied_twice(how: tuple[str, ...], installation: Installation, webhook: Replica) -> None:
    """The manifest has the real address, which an existing pod cannot change to, so it gets the sidecar's again."""
    name = f"bare-{len(how)}"
    for _ in range(2):
        done = installation.kubectl("apply", *how, "-f", "-", given=manifest(name))
        assert done.returncode == 0, done.stderr
    found = installation.plane.call("GET", f"/api/v1/namespaces/default/pods/{name}").body
    assert found["spec"]["containers"][0]["env"][0]["value"] == "127.0.0.1:50066"
    labelled = manifest(name).replace('"annotations"', '"labels": {"new": "yes"}, "annotations"')
    done = installation.kubectl("apply", *how, "-f", "-", given=labelled)
    assert done.returncode == 0, done.stderr


def test_a_bare_pod_with_another_address_is_refused(installation: Installation, webhook: Replica) -> None:
    assert installation.kubectl("apply", "-f", "-", given=manifest("moved")).returncode == 0
    done = installation.kubectl("apply", "-f", "-", given=manifest("moved", "elsewhere:1"))
    assert done.returncode != 0
    assert "MEDIA_SERVICE_ADDR of app was changed after the sidecar had been added" in done.stderr


def test_an_update_of_anything_else_never_waits_for_the_webhook(
    plane: ControlPlane, installation: Installation, webhook: Replica
) -> None:
    def asked() -> str:
        name = "media_cache_injector_admission_duration_seconds_count"
        return next(line for line in webhook.get("/metrics")[1].splitlines() if line.startswith(name))

    assert installation.kubectl("apply", "-f", "-", given=manifest("quiet")).returncode == 0
    before = asked()
    assert installation.kubectl("label", "pod", "quiet", "some=label").returncode == 0
    assert asked() == before


@pytest.fixture(scope="module")
def second(plane: ControlPlane, installation: Installation) -> Iterator[tuple[Installation, str]]:
    """Another release for the same pods, with another variable, and Helm's output."""
    found = Installation(plane, "second", plane.namespace("second"))
    said = found.install("--set", "sidecar.env=OTHER_ADDR,sidecar.redis.secret=mine:at")
    with found.replica():
        yield found, said
    assert found.helm("uninstall", found.release).returncode == 0


def test_a_second_release_says_so_and_lets_be_what_the_first_injected(
    plane: ControlPlane, installation: Installation, webhook: Replica, second: tuple[Installation, str]
) -> None:
    assert f"another release is installed ({installation.configuration})" in second[1]
    given = pod()
    given["spec"]["containers"][0]["env"].append({"name": "OTHER_ADDR", "value": "other:1"})
    plane.wait(lambda: all(second[0].bundles()), "the second one to be trusted")
    answer = plane.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", given)
    assert answer.status == 201, answer.message
    assert sidecar(answer.body)
    every = [*answer.body["spec"].get("initContainers", ()), *answer.body["spec"]["containers"]]
    assert [each["name"] for each in every].count("media-cache-proxy") == 1


def test_the_notes_name_the_secrets_and_their_keys(second: tuple[Installation, str]) -> None:
    assert "create secret generic mine --from-literal=at=redis://redis:6379" in second[1]
    assert "create secret generic media-cache-proxy --from-literal=rabbitmq-addr=" in second[1]
