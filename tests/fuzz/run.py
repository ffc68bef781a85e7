"""`make fuzz`: runs the properties of this folder, and the consistency machine, on new examples until the time is over.

    python -m tests.fuzz.run [--seconds 300] [--seed 7] [PYTEST ARGUMENTS]

Each round has its own seed and ends with the first property that fails; pytest then shows its smallest example, and the
command that repeats the round follows. With `--seed` there is only that round.
"""

# ruff: noqa: T201 -- printing is what the command is for

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.fuzz.budget import TIMES

_TARGETS = ("tests/fuzz", "tests/consistency/test_core.py")
_AS_MANY = "2"
"""Examples of a round, as a multiple of those in `make test`."""


def round_of(seed: int, more: Sequence[str]) -> int:
    """pytest's exit status."""
    targets = () if any(argument.startswith("tests/") for argument in more) else _TARGETS
    options = ("-q", "-x", "--no-header", "--timeout=0", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}")
    environment = os.environ | {TIMES: _AS_MANY}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *targets, *more], env=environment, check=False
    ).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 if a property failed."""
    parser = argparse.ArgumentParser(description="new examples for every fuzz target until the time is over")
    parser.add_argument("--seconds", type=float, default=300.0, help="no round begins later than this")
    parser.add_argument("--seed", type=int, help="just the round with this seed")
    given, more = parser.parse_known_args(arguments)
    end, rounds = time.monotonic() + given.seconds, 0
    while True:
        seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
        rounds += 1
        print(f"round {rounds}, seed {seed}", flush=True)
        if round_of(seed, more):
            repeat = " ".join([f"make fuzz SEED={seed}", *([f'ARGS="{" ".join(more)}"'] if more else [])])
            print(f"failed in round {rounds}; to repeat it: {repeat}")
            return 1
        if given.seed is not None or time.monotonic() >= end:
            print(f"{rounds} rounds, none failed")
            return 0


if __name__ == "__main__":
    sys.exit(main())
