"""`make test-cluster` where there is no API server to run: one line that says what to install, and status 4."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("given", ["", "/nowhere", str(ROOT)])
def test_without_the_binaries_it_says_how_to_have_them(given: str) -> None:
    env = {**os.environ, "KUBEBUILDER_ASSETS": given}
    command = [sys.executable, "-m", "tests.cluster.run"]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("\n") == 1
    assert f"KUBEBUILDER_ASSETS={given} has no etcd, kube-apiserver; install them: " in done.stderr
    assert "setup-envtest" in done.stderr


def test_it_is_no_part_of_the_other_tests() -> None:
    assert list((ROOT / "tests/cluster").glob("check_*.py"))
    assert not list((ROOT / "tests/cluster").glob("test_*.py"))
