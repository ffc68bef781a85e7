"""A program that replaces itself by another program, which the kernel kills when its parent dies for any reason.

A `preexec_fn` would run Python between fork and exec, which is unsafe because the parent has threads. This program is
run by its path and imports nothing else of the project, so it starts quickly.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def main(parent: int, environment: Sequence[str], command: Sequence[str]) -> None:
    """Becomes `command`, with `environment` (`NAME=value`) added to the current one; does not return."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # the parent died before the call
        sys.exit(1)
    os.execve(command[0], list(command), {**os.environ, **dict(each.split("=", 1) for each in environment)})  # noqa: S606 -- the parent chooses the program


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1 :])
