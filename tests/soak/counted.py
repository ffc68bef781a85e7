"""`python -m tests.soak.counted serve`: the proxy, unchanged, but for a signal on which it says what it holds."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter

from proxy.cli import main

TELL = signal.SIGUSR1
MARK = "held: "
"""Before the JSON, at the beginning of a line on stdout."""


def _tell(*_: object) -> None:
    gc.collect()
    kinds = Counter(type(one).__qualname__ for one in gc.get_objects())
    held = {"tasks": len(asyncio.all_tasks()), "blocks": sys.getallocatedblocks(), "kinds": kinds}
    # Not through sys.stdout: the signal may have come in the middle of a line.
    os.write(1, f"{MARK}{json.dumps(held)}\n".encode())


if __name__ == "__main__":
    signal.signal(TELL, _tell)
    main()
