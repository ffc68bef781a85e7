"""Kubernetes versions are parsed as they are written."""

import pytest

from proxy.injector.versions import parse_version


@pytest.mark.parametrize(
    ("text", "version"), [("1.33", (1, 33)), ("v1.30.2-gke.1", (1, 30)), ("v1.33.0+k3s1", (1, 33)), ("1.30+", (1, 30))]
)
def test_a_version(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "1", "latest", "1.x", "1.3o"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a Kubernetes version; accepted: like 1\.33 or v1\.33\.2"):
        parse_version(text)
