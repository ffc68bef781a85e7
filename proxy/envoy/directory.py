"""`own_directory`: a private directory for Envoy's configuration and sockets, removed when the process ends.

A killed process leaves its directory behind, and the next one removes it. A living process holds a lock on the file
`lock` in its directory, which the kernel releases when the process ends. A directory without that file may have just
been created, so it is kept for a minute.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.errors import StartError

_PREFIX = "media-cache-proxy-"
_LOCK = "lock"
_BEING_MADE = 60.0


@contextmanager
def own_directory() -> Iterator[Path]:
    """The directory, in TMPDIR or in /dev/shm, which may be the only writable place in a container. Raises StartError
    if it cannot be created.
    """
    try:
        parent = tempfile.gettempdir()
    except FileNotFoundError:
        parent = "/dev/shm"  # noqa: S108 -- only this user can read the directory that is made in it
    _remove_abandoned(Path(parent))
    try:
        directory = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent)
    except OSError:
        raise StartError(
            "TRANSPORT=envoy: no directory for temporary files is writable; accepted: a writable one in TMPDIR"
        ) from None
    with directory as name, (Path(name) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it belongs to another user, or another process is removing it
            if directory.lstat().st_uid == os.getuid() and not directory.is_symlink() and _abandoned(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _abandoned(directory: Path) -> bool:
    try:
        with (directory / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - directory.stat().st_mtime > _BEING_MADE
    except BlockingIOError:
        return False
    return True
