"""`make test-cluster`: the chart and the webhook on a real API server.

0   all tests passed
4   KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver; the line says how to install them
*   pytest's own status
"""

import subprocess
import sys
from pathlib import Path

from tests.cluster.control_plane import CONTROLLERS, assets

_NO_ASSETS = 4
HERE = Path(__file__).parent
LIVE = "check_live.py"
"""The tests that need a kube-controller-manager, so that Deployments make pods."""


def main(arguments: list[str]) -> int:
    """Runs the tests, whose files pytest does not collect by itself, so that `make test` needs no API server."""
    try:
        folder = assets()
    except FileNotFoundError as error:
        sys.stderr.write(f"test-cluster: {error}\n")
        return _NO_ASSETS
    command = [sys.executable, "-m", "pytest", "-o", "python_files=check_*.py", *(arguments or [str(HERE)])]
    if not (folder / CONTROLLERS).exists():
        sys.stderr.write(f"test-cluster: {folder} has no {CONTROLLERS}: {LIVE} is left out\n")
        command.append(f"--ignore={HERE / LIVE}")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
