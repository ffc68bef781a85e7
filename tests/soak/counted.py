"""`python -m tests.soak.counted serve`: the proxy, unchanged, but for a signal on which it says what it holds."""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from collections import Counter

from proxy.cli import main

TELL = signal.SIGUSR1
MARK, END = "held: ", " :held"
"""Around the JSON, a line on stdout, which may be read before all of it is there."""


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3): of all arenas, in bytes; `uordblks` are in use, `hblkhd` in use and mapped on their own."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


_malloc = ctypes.CDLL(None)
_malloc.mallinfo2.restype = _Mallinfo2


def _tell(*_: object) -> None:
    gc.collect()
    # Without what the proxy froze at its start (`app.py`), and must not be thawed for this: what is there when it were
    # frozen again would not be collected once it is garbage.
    kinds = Counter(type(one).__qualname__ for one in gc.get_objects())
    heap = _malloc.mallinfo2()
    held = {
        "heap": heap.uordblks + heap.hblkhd,
        "tasks": len(asyncio.all_tasks()),
        "blocks": sys.getallocatedblocks(),
        "kinds": kinds,
    }
    # Not through sys.stdout: the signal may have come in the middle of a line.
    os.write(1, f"{MARK}{json.dumps(held)}{END}\n".encode())


if __name__ == "__main__":
    signal.signal(TELL, _tell)
    main()
