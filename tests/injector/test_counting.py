"""A pod's resources are counted as Kubernetes counts them."""

from decimal import Decimal
from typing import Any

import pytest

from proxy.injector import counting


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "native", "expected"),
    [
        ({"containers": [container("1"), container("2")]}, True, "3.5"),
        ({"containers": [container("1")], "initContainers": [container("5")]}, True, "5.5"),
        ({"containers": [container("1")], "initContainers": [container("5")]}, False, "5"),
        ({"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, False, "3.5"),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("2", restartPolicy="Always"), container("4")],
            },
            True,
            "6.5",
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, True, "1.75"),
        ({"containers": [container("what")]}, True, "0.5"),
    ],
)
def test_the_sum_with_the_sidecar(spec: dict[str, Any], native: bool, expected: str) -> None:
    assert counting.total(spec, "requests", "cpu", Decimal("0.5"), native=native) == Decimal(expected)


def test_a_limit_is_the_request_that_is_not_given() -> None:
    only = {"name": "x", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    assert counting.of(only, "requests", "cpu") == 1
    assert counting.guaranteed({"containers": [only]})
    assert not counting.guaranteed({"containers": [only, container("1")]})
