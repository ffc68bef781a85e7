"""Pods on a real API server: it accepts the webhook's changes, and other pods stay as they are."""

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import Replica, pod, sidecar


def test_a_pod_that_asks_is_injected(plane: ControlPlane, webhook: Replica) -> None:
    answer = plane.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod())
    assert answer.status == 201, answer.body
    assert sidecar(answer.body)
