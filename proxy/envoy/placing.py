"""The policy's services, found out by a process that ends then: what it loads for that would stay in `serve` for good,
30 MB that the interpreter inside Envoy has anyway.

That process keeps what it has read in a file, by which the interpreter inside Envoy makes the policy: it must answer
what Envoy's routes lead to it, and the policy's own file may have changed meanwhile.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from proxy.envoy.services import Placed, builtin, placed
from proxy.policy.mistakes import PolicyError
from proxy.policy.watched import Watched
from proxy.settings.config import Settings

_PROGRAM = "from proxy.envoy.placing import main; main()"


def placed_apart(settings: Settings, read: Path) -> tuple[Placed, ...]:
    """As POLICY has it; PolicyError with every mistake. `read` is the file for all that was read (`Watched.saved`)."""
    if not settings.policy:
        return builtin(settings)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
    asked = pickle.dumps((settings, read))
    command = [sys.executable, "-P", "-c", _PROGRAM]
    done = subprocess.run(command, input=asked, env=environment, stdout=subprocess.PIPE, check=False)  # noqa: S603 -- ours
    if done.returncode:
        return _placed(settings, read)  # whatever was wrong with that process, it is not the policy
    found: tuple[Placed, ...] | PolicyError = pickle.loads(done.stdout)  # noqa: S301 -- by ourselves
    if isinstance(found, PolicyError):
        raise found
    return found


def main() -> None:
    """That process."""
    settings, read = pickle.load(sys.stdin.buffer)  # noqa: S301 -- by ourselves
    found: object
    try:
        found = _placed(settings, read)
    except PolicyError as error:
        found = error
    sys.stdout.buffer.write(pickle.dumps(found))


def _placed(settings: Settings, read: Path) -> tuple[Placed, ...]:
    watched = Watched(keeping=True)
    found = placed(settings, watched)
    watched.save(read)
    return found
