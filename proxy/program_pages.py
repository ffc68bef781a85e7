"""Pages of programs and libraries that nothing but the start has used: memory that is given back once it is over.

Envoy's executable has 105 MB, of which its start touches a half. A page that is needed again is mapped out of the
kernel's cache of files, together with the 15 around it, in about a microsecond.
"""

import ctypes
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED (madvise(2))
_LEAST_KB = 1024
"""Resident in a mapping that is worth it. A smaller one may be of a library that another thread loads right now."""


def unwritten(smaps: str) -> list[tuple[int, int]]:
    """Address and length of each mapping of a file that is never written to; `smaps` is as in proc_pid_smaps(5).

    What the loader has written into a mapping before it made it read-only, the addresses of what was loaded, is in no
    file and has to stay.
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
    """Those of this process. It takes some milliseconds; calls may be served meanwhile."""
    try:
        smaps = Path("/proc/self/smaps").read_text()
    except OSError:  # a sandbox that tells nothing of memory; a start does not fail for that
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for address, length in unwritten(smaps):
        advise(address, length, _DONTNEED)
