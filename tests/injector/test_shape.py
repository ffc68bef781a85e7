"""The shape of the parts of a pod that are read is checked."""

from typing import Any

import pytest

from proxy.injector import shape
from proxy.injector.refusal import Refused


def test_a_pod_with_nulls_and_unknown_fields() -> None:
    container: dict[str, Any] = {
        "name": "a",
        "env": None,
        "ports": [{"containerPort": 1}],
        "other": 1,
        "livenessProbe": {"exec": {}},
    }
    shape.check({"metadata": None, "spec": {"containers": [container], "initContainers": None, "x": []}})


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ("x", "pod: is not a mapping"),
        ({}, "pod.spec: is missing"),
        ({"spec": {"containers": []}}, "pod.spec.containers: is empty"),
        ({"spec": {"containers": [{"name": 1}]}}, "pod.spec.containers[0].name: is not a string"),
        (
            {"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}},
            "value: is not a string",
        ),
        ({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "1"}]}]}}, "is not a whole number"),
        ({"spec": {"containers": [{"name": "a"}], "hostNetwork": "yes"}}, "hostNetwork: is not true or false"),
        ({"spec": {"containers": [{"name": "a"}]}, "metadata": {"labels": []}}, "metadata.labels: is not a mapping"),
        ({"spec": {"containers": [{"name": "a"}], "imagePullSecrets": {}}}, "imagePullSecrets: is not a list"),
    ],
)
def test_the_first_place_that_is_wrong_is_named(pod: Any, message: str) -> None:
    with pytest.raises(Refused) as caught:
        shape.check(pod)
    assert message in caught.value.message
    assert caught.value.reason == "malformed"
