"""Local storage: the sidecar names none, unless the namespace's default does not fit."""

from typing import Any

import pytest

from proxy.injector.refusal import Refused
from tests.injector.test_resources import fit, limits, quota, resources

GIVEN = limits(default={"ephemeral-storage": "1Gi"}, defaultRequest={"ephemeral-storage": "1Gi"})
APP_WITH_STORAGE = resources({"ephemeral-storage": "1Gi"}, {"ephemeral-storage": "1Gi"})


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ([], None),
        ([GIVEN], None),
        ([GIVEN, quota(limits_ephemeral__storage="4Gi")], None),
        ([GIVEN, quota(limits_ephemeral__storage="1500Mi")], "128Mi"),
        ([GIVEN, quota(requests_ephemeral__storage="1500Mi")], "128Mi"),
        ([GIVEN, limits("Pod", max={"ephemeral-storage": "1500Mi"})], "128Mi"),
        ([quota(limits_ephemeral__storage="1Gi")], None),
    ],
)
def test_what_the_namespace_would_give_it_of_local_storage_fits(demands: list[Any], expected: str | None) -> None:
    found = fit(*demands, app=APP_WITH_STORAGE)
    assert found["limits"].get("ephemeral-storage") == expected
    assert found["requests"].get("ephemeral-storage") == expected


def test_of_too_little_local_storage_it_is_refused_where_that_counts() -> None:
    tight = [GIVEN, quota(limits_ephemeral__storage="1100Mi")]
    with pytest.raises(Refused, match=r"too little limits\.ephemeral-storage left; make room"):
        fit(*tight, app=APP_WITH_STORAGE)
    assert "ephemeral-storage" not in fit(*tight, app=APP_WITH_STORAGE, counted=False)["limits"]
