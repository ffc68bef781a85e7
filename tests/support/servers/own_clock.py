"""A separate wall clock for a child process, which a test sets by libfaketime.

The monotonic clock (used by timers) is not affected, as when an administrator or NTP sets a clock.
"""

import os
from pathlib import Path

_LIBRARY = "faketime/libfaketimeMT.so.1"


def own_clock_of(directory: Path) -> dict[str, str]:
    """Returns the environment of such a child; its clock is right at first. RuntimeError says what to install."""
    library = next(Path("/usr/lib").glob(f"*/{_LIBRARY}"), None)
    if library is None:
        raise RuntimeError("libfaketime is not installed; run: scripts/setup (or: apt-get install faketime)")
    set_own_clock(directory, 0)
    return {
        "PATH": os.environ["PATH"],
        # libc's malloc must come first: jemalloc asks for the time when it is loaded, before the library can answer.
        "LD_PRELOAD": f"{library}:libc.so.6",
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_own_clock(directory: Path, seconds: float) -> None:
    """Sets the clock this far ahead of the machine's, or behind if negative."""
    new = directory / "clock.new"
    new.write_text(f"{seconds:+f}\n")
    new.rename(directory / "clock")  # whole at any moment
