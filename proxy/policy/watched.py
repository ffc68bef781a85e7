"""`Watched`: the files that a policy was read from, whether they have changed since, and what they contained.

Kubernetes replaces a ConfigMap's files by changing one symbolic link, so what counts is the file that a path leads to:
its device, inode, size and modification time.
"""

import pickle
from collections.abc import Hashable
from pathlib import Path
from typing import Self

Stamp = tuple[int, ...]


class Watched:
    """The files of one reading of a policy. With `keeping` it keeps everything that was read, so that another process
    can read the same policy again, whatever the files contain by then.
    """

    def __init__(self, *, keeping: bool = False) -> None:
        self._stamps: dict[Path, Stamp] = {}
        self._keeping = keeping
        self._kept: dict[Hashable, bytes] = {}

    @classmethod
    def saved(cls, file: Path) -> Self:
        """The object that `save` wrote to a file; it keeps nothing more."""
        found: Self = pickle.loads(file.read_bytes())  # noqa: S301 -- the proxy wrote it, in a directory of its own
        found._keeping = False
        return found

    def save(self, file: Path) -> None:
        """Writes this object to a file, for the process that reads the policy next."""
        file.write_bytes(pickle.dumps(self))

    def read(self, path: Path, most: int) -> bytes:
        """A file's content, or what was kept of it when it was first read; raises OSError.

        At most `most` + 1 bytes are read; the last one shows that a file is too large.
        """
        kept = self.told(path)
        if kept is not None:
            return kept
        self.reading(path)
        with path.open("rb") as file:
            return self.keep(path, file.read(most + 1))

    def told(self, what: Hashable) -> bytes | None:
        """What was kept under this name; None if nothing was."""
        return self._kept.get(what)

    def keep(self, what: Hashable, data: bytes) -> bytes:
        """Keeps the bytes under this name, if it is `keeping`, and returns them."""
        if self._keeping:
            self._kept[what] = data
        return data

    def forget(self) -> None:
        """Drops everything that was kept."""
        self._kept.clear()

    def reading(self, path: Path) -> None:
        """Remembers a file's state; must be called before the file is read."""
        self._stamps.setdefault(path, _stamp(path))

    @property
    def changed(self) -> bool:
        """Whether any of the files has changed since it was read."""
        return any(_stamp(path) != seen for path, seen in self._stamps.items())


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
