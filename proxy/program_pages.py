"""`give_back`: gives back the memory of program and library pages that only the start has used.

Envoy's executable has 105 MB, of which its start touches half. A page that is needed again is mapped from the kernel's
page cache, together with the 15 around it, in about a microsecond.
"""

import ctypes
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED (madvise(2))
_LEAST_KB = 1024
"""Smaller mappings are left alone: they would free little, and may belong to a library that is being loaded."""


def unwritten(smaps: str) -> list[tuple[int, int]]:
    """Address and length of each file mapping that was never written to; `smaps` has the format of proc_pid_smaps(5).

    A read-only mapping is left out if the loader has written addresses into it before: no file has these pages.
    """
    found = []
    start, end, candidate, resident = 0, 0, False, 0
    for line in smaps.splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            start, end = (int(address, 16) for address in name.split("-"))
            candidate = values[0] in {"r-xp", "r--p"} and values[3] != "0"
        elif name == "Rss:":
            resident = int(values[0])
        elif name == "Anonymous:" and candidate and values[0] == "0" and resident >= _LEAST_KB:
            found.append((start, end - start))
    return found


def give_back() -> None:
    """Drops these pages of this process. It takes some milliseconds, and calls may be served meanwhile."""
    try:
        smaps = Path("/proc/self/smaps").read_text()
    except OSError:  # a sandbox without /proc: the start must not fail for that
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for address, length in unwritten(smaps):
        advise(address, length, _DONTNEED)
