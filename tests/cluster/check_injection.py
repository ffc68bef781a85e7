"""Pods through a real API server: what the webhook makes of them is taken, and what it lets be is let be."""

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import Replica, pod, sidecar


def test_a_pod_that_asks_is_injected(plane: ControlPlane, webhook: Replica) -> None:
    answer = plane.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod())
    assert answer.status == 201, answer.body
    assert sidecar(answer.body)
