"""The policy's services, found out by a process that ends then: what it loads for that would stay in `serve` for good,
30 MB that the interpreter inside Envoy has anyway.
"""

import os
import pickle
import subprocess
import sys

from proxy.envoy.services import Placed, builtin, placed
from proxy.policy.mistakes import PolicyError
from proxy.settings.config import Settings

_PROGRAM = "from proxy.envoy.placing import main; main()"


def placed_apart(settings: Settings) -> tuple[Placed, ...]:
    """As POLICY has it; PolicyError with every mistake."""
    if not settings.policy:
        return builtin(settings)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
    asked = pickle.dumps(settings)
    command = [sys.executable, "-P", "-c", _PROGRAM]
    done = subprocess.run(command, input=asked, env=environment, stdout=subprocess.PIPE, check=False)  # noqa: S603 -- ours
    if done.returncode:
        return placed(settings)  # whatever was wrong with that process, it is not the policy
    found: tuple[Placed, ...] | PolicyError = pickle.loads(done.stdout)  # noqa: S301 -- by ourselves
    if isinstance(found, PolicyError):
        raise found
    return found


def main() -> None:
    """That process."""
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 -- by ourselves
    found: object
    try:
        found = placed(settings)
    except PolicyError as error:
        found = error
    sys.stdout.buffer.write(pickle.dumps(found))
