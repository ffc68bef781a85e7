"""`python -m tests.soak.counted serve`: the unchanged proxy, which on a signal reports what it holds."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter

from proxy.cli import main
from tests.support.servers.heap import heap_bytes

TELL = signal.SIGUSR1
MARK, END = "held: ", " :held"
"""Encloses the JSON, a line on stdout that may be read before it is complete."""


def _tell(*_: object) -> None:
    gc.collect()
    # Without what the proxy froze at its start (`app.py`), and must not be thawed for this: what is there when it were
    # frozen again would not be collected once it is garbage.
    kinds = Counter(type(one).__qualname__ for one in gc.get_objects())
    held = {
        "heap": heap_bytes(),
        "tasks": len(asyncio.all_tasks()),
        "blocks": sys.getallocatedblocks(),
        "kinds": kinds,
    }
    # Not through sys.stdout: the signal may have come in the middle of a line.
    os.write(1, f"{MARK}{json.dumps(held)}{END}\n".encode())


if __name__ == "__main__":
    signal.signal(TELL, _tell)
    main()
