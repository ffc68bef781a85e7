"""Nodes and users: what is refused, and when the sidecar needs a user of its own."""

from typing import Any

import pytest

from proxy.injector import hosts
from proxy.injector.refusal import Refused


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    every = [{"matchExpressions": [term]} for term in terms]
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": every}}}
    }


def os_is(operator: str, *values: str, key: str = "kubernetes.io/os") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    "spec",
    [
        {"os": {"name": "windows"}},
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"beta.kubernetes.io/os": "windows"}},
        required(os_is("In", "windows")),
        required(os_is("NotIn", "linux")),
        required(os_is("In", "windows"), os_is("In", "windows", key="beta.kubernetes.io/os")),
    ],
)
def test_a_pod_for_windows_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="the pod is for Windows"):
        hosts.refuse(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}, "affinity": {"nodeAffinity": None}},
        required(os_is("In", "linux")),
        required(os_is("In", "linux", "windows")),
        required(os_is("In", "windows"), os_is("Exists", key="gpu")),
        required(),
    ],
)
def test_a_pod_that_may_run_on_linux_is_not(spec: dict[str, Any]) -> None:
    hosts.refuse(spec)


def test_a_nodes_network_is_refused() -> None:
    with pytest.raises(Refused, match="with hostNetwork the sidecar's ports would be the node's"):
        hosts.refuse({"hostNetwork": True})


@pytest.mark.parametrize(
    ("spec", "root"),
    [({}, False), ({"securityContext": {"runAsUser": 0}}, True), ({"securityContext": {"runAsUser": 5}}, False)],
)
def test_who_is_root(spec: dict[str, Any], root: bool) -> None:
    assert hosts.runs_as_root(spec) is root
