"""A wall clock of a child's own, which a test sets: libfaketime answers the child's questions for the time.

What goes by the monotonic clock (its timers) is left alone, as it is where an administrator or NTP sets a clock.
"""

import os
from pathlib import Path

_LIBRARY = "faketime/libfaketimeMT.so.1"


def own_clock_of(directory: Path) -> dict[str, str]:
    """The environment of such a child; its clock is right at first. RuntimeError says what to install."""
    library = next(Path("/usr/lib").glob(f"*/{_LIBRARY}"), None)
    if library is None:
        raise RuntimeError("libfaketime is not installed; run: scripts/setup (or: apt-get install faketime)")
    set_own_clock(directory, 0)
    return {
        "PATH": os.environ["PATH"],
        # libc's own malloc first: jemalloc asks for the time as it begins, when the library cannot tell it yet.
        "LD_PRELOAD": f"{library}:libc.so.6",
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_own_clock(directory: Path, seconds: float) -> None:
    """So far ahead of the machine's, or behind when negative."""
    new = directory / "clock.new"
    new.write_text(f"{seconds:+f}\n")
    new.rename(directory / "clock")  # whole at any moment
