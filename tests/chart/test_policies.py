"""Policies of the chart: ConfigMaps in the namespaces that use them, and RBAC that allows reading only these."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.chart.tools import CHART, ROOT, objects, one, run, template

SHIPPED = sorted((CHART / "files" / "policies").glob("*.yaml"))
POLICY = "version: 1\nservices:\n  - {name: media.MediaService, builtin: true}\n"


def given(*policies: dict[str, Any]) -> list[str]:
    return ["--set-json", f"policies={json.dumps(policies)}"]


def configs(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    every = [each for each in found if each["kind"] == "ConfigMap"]
    return {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in every}


def test_a_shipped_policy_stands_in_each_namespace_with_its_descriptors() -> None:
    found = configs(objects(template(*given({"name": "shop", "shipped": "product", "namespaces": ["a", "b"]}))))
    assert found.keys() == {("a", "shop"), ("b", "shop")}
    folder = CHART / "files" / "policies"
    for each in found.values():
        assert each["data"]["policy.yaml"].strip() == (folder / "product.yaml").read_text().strip()
        assert base64.b64decode(each["binaryData"]["product.binpb"]) == (folder / "product.binpb").read_bytes()


def test_a_policy_of_ones_own() -> None:
    descriptors = {"x.binpb": base64.b64encode(b"\x00\xff").decode()}
    own = {"name": "own", "policy": POLICY, "descriptors": descriptors, "namespaces": ["shop"]}
    found = configs(objects(template(*given(own))))["shop", "own"]
    assert found["data"]["policy.yaml"].strip() == POLICY.strip()
    assert found["binaryData"] == descriptors


def test_the_webhook_may_read_those_and_no_others() -> None:
    values = given(*({"name": name, "shipped": "product", "namespaces": ["shop"]} for name in ("one", "two")))

    def rules(*arguments: str) -> list[dict[str, Any]]:
        found = one(objects(template(*arguments)), "ClusterRole")["rules"]
        return [rule for rule in found if "configmaps" in rule["resources"]]

    assert rules() == []
    expected = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one", "two"], "verbs": ["get"]}
    assert rules(*values) == [expected]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x", "shipped": "product"},
        {"name": "x", "shipped": "produkt", "namespaces": ["shop"]},
        {"name": "x", "namespaces": ["shop"]},
        {"name": "x", "shipped": "product", "policy": POLICY, "namespaces": ["shop"]},
        {"name": "X", "shipped": "product", "namespaces": ["shop"]},
    ],
    ids=str,
)
def test_half_a_policy_is_refused(wrong: dict[str, Any]) -> None:
    assert run("helm", "template", "mcp", CHART, "--kube-version", "1.37", *given(wrong)).returncode != 0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_policy_is_the_example(path: Path) -> None:
    """A chart cannot include a file from outside, so it has a copy; `scripts/check policies` runs the cases of both."""
    assert path.read_bytes() == (ROOT / "examples" / "policies" / path.name).read_bytes()
