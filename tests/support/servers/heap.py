"""`heap_bytes`: the memory from malloc that this process has not freed, which is everything that C code holds."""

import ctypes


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3), over all arenas, in bytes; `uordblks` are in use, `hblkhd` are in use and mapped separately."""

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


def heap_bytes() -> int:
    """Excludes Python's own small objects, which are in arenas that Python maps."""
    heap = _malloc.mallinfo2()
    return int(heap.uordblks + heap.hblkhd)
