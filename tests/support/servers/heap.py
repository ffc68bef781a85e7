"""`heap_bytes`: what malloc has given out in this process, and not been given back: all that C code holds."""

import ctypes


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


def heap_bytes() -> int:
    """Python's own small objects are not in it: they are in arenas that Python takes by mmap."""
    heap = _malloc.mallinfo2()
    return int(heap.uordblks + heap.hblkhd)
