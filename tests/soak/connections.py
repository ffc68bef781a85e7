"""`connections`: the TCP connections of a process, as reported by Linux."""

from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"
_ADDRESS, _PEER, _STATE, _INODE = 1, 2, 3, 9
"""Columns of /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An established connection, by the ports of its two ends."""

    own: int
    peer: int


def connections(pid: int) -> list[Connection]:
    """All established connections of one of the tests' processes."""
    inodes = _sockets(pid)
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [
        Connection(_port(row[_ADDRESS]), _port(row[_PEER]))
        for row in rows
        if row[_STATE] == _ESTABLISHED and row[_INODE] in inodes
    ]


def _sockets(pid: int) -> set[str]:
    """The inodes of its sockets."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
