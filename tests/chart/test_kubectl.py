"""The golden patches, applied by a real kubectl: the result is the same as ours, and valid."""

import json
from pathlib import Path

import kubernetes_validate
import pytest

from tests.chart.tools import run
from tests.injector.pods import GOLDEN, complete, decision, load, patched

PATCHED = [path for path in GOLDEN if decision(load(path)["given"]).operations]


@pytest.mark.parametrize("path", PATCHED, ids=lambda path: path.stem)
def test_kubectl_applies_a_golden_patch(path: Path, tmp_path: Path) -> None:
    given = load(path)["given"]
    found = decision(given)
    pod = complete(given["pod"])
    pod["metadata"] = {"name": "x", **pod["metadata"]}  # kubectl requires a name, which the API server would make
    manifest, patch = tmp_path / "pod.json", tmp_path / "patch.json"
    manifest.write_text(json.dumps(pod))
    patch.write_text(json.dumps([each.as_json() for each in found.operations]))
    done = run(
        "kubectl", "patch", "--local", "-f", manifest, "--type", "json", "--patch-file", patch, "--output", "json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    kubernetes_validate.validate(result, kubernetes_validate.latest_version(), strict=True)
    assert result == patched(pod, found)
