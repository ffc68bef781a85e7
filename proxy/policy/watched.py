"""`Watched`: the files that a policy was read from, whether they have changed since, and what they held.

A ConfigMap's files are replaced by turning one symbolic link, so that what counts is where a path leads: the inode, its
size and its time.
"""

import pickle
from collections.abc import Hashable
from pathlib import Path
from typing import Self

Stamp = tuple[int, ...]


class Watched:
    """Made anew for each reading. One that is `keeping` holds all that was read, so that a policy can be read a second
    time, in another process, and is the same whatever the files hold by then.
    """

    def __init__(self, *, keeping: bool = False) -> None:
        self._stamps: dict[Path, Stamp] = {}
        self._keeping = keeping
        self._kept: dict[Hashable, bytes] = {}

    @classmethod
    def saved(cls, file: Path) -> Self:
        """The one that `save` has put there."""
        found: Self = pickle.loads(file.read_bytes())  # noqa: S301 -- by ourselves, in a directory of ours
        found._keeping = False
        return found

    def save(self, file: Path) -> None:
        """For the process that reads the policy next."""
        file.write_bytes(pickle.dumps(self))

    def read(self, path: Path, most: int) -> bytes:
        """What a file holds, or held when it was read first: at most so many bytes, and one more; OSError."""
        kept = self.told(path)
        if kept is not None:
            return kept
        self.reading(path)
        with path.open("rb") as file:
            return self.keep(path, file.read(most + 1))

    def told(self, what: Hashable) -> bytes | None:
        """What was kept under this name."""
        return self._kept.get(what)

    def keep(self, what: Hashable, data: bytes) -> bytes:
        """The same bytes, kept under this name where anything is."""
        if self._keeping:
            self._kept[what] = data
        return data

    def forget(self) -> None:
        """What is kept is not read again."""
        self._kept.clear()

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
