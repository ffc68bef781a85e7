"""The sidecar's position in a pod, and what is added with it."""

from typing import Any

import pytest

from proxy.injector import placing

SIDECAR = {"name": "media-cache-proxy"}


@pytest.mark.parametrize(
    ("before", "index"),
    [
        (["migrate"], 0),
        (["istio-init", "istio-proxy", "migrate"], 2),
        (["linkerd-init", "linkerd-proxy"], 2),
        (["migrate", "istio-init"], 0),
        ([], 0),
    ],
    ids=str,
)
def test_behind_a_mesh_and_before_the_app(before: list[str], index: int) -> None:
    found = placing.sidecar({"initContainers": [{"name": name} for name in before]}, SIDECAR, native=True)
    assert found.path == ("spec", "initContainers", index)


def test_lists_that_are_not_there_are_made() -> None:
    assert placing.sidecar({}, SIDECAR, native=True).value == [SIDECAR]
    assert placing.sidecar({}, SIDECAR, native=False).path == ("spec", "containers", "-")
    (made,) = placing.volumes({}, None)
    assert made.path == ("spec", "volumes")
    assert placing.pull_secrets({}, ()) == []


def test_nothing_is_added_twice() -> None:
    (made,) = placing.volumes({"volumes": [{"name": "data"}]}, None)
    there: dict[str, Any] = {"volumes": [{"name": "data"}, made.value]}
    assert placing.volumes(there, None) == []
    (secret,) = placing.pull_secrets({"imagePullSecrets": [{"name": "a"}]}, ("a", "b"))
    assert secret.value == {"name": "b"}
