"""`Watched`: the files that a policy was read from, and whether they have changed since.

A ConfigMap's files are replaced by turning one symbolic link, so that what counts is where a path leads: the inode, its
size and its time.
"""

from pathlib import Path

Stamp = tuple[int, ...]


class Watched:
    """Made anew for each reading."""

    def __init__(self) -> None:
        self._stamps: dict[Path, Stamp] = {}

    def reading(self, path: Path) -> None:
        """To be told before a file is read."""
        self._stamps.setdefault(path, _stamp(path))

    @property
    def changed(self) -> bool:
        """Whether any of them is another one than it was when it was read."""
        return any(_stamp(path) != seen for path, seen in self._stamps.items())


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
