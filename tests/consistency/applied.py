"""`Applied`: reads from the proxies' logs which invalidations they have applied, and reports them to the `Checker`.

A proxy logs an invalidation after Redis has confirmed it and before it acknowledges the event or answers the write. The
line names the event or write by a field that exists only for this test. An event or write with several tags has a line
for each kind of tag, and is applied once all of them are logged.
"""

import json
from pathlib import Path
from typing import BinaryIO

from tests.consistency.checker import Checker


class Applied:
    """Reads logs on from where it stopped the last time."""

    def __init__(self, checker: Checker, lines: frozenset[str]) -> None:
        """`lines`: the log messages that together say that an invalidation is applied."""
        self._checker = checker
        self._lines = lines
        self._seen: dict[str, set[str]] = {}
        self._logs: list[BinaryIO] = []
        self._cut: dict[BinaryIO, bytes] = {}
        self._awaited: dict[str, tuple[str, int]] = {}
        self._flush_began: dict[BinaryIO, dict[str, int]] = {}
        self._before: dict[str, int] = {}

    def watch(self, log: Path) -> None:
        """Adds the log of another proxy."""
        self._logs.append(log.open("rb"))

    def awaits(self, name: str, model: str, version: int) -> None:
        """Declares that the event or write of this name belongs to a commit."""
        self._awaited[name] = (model, version)

    def read_on(self) -> None:
        """Reads everything that was logged until now."""
        for log in self._logs:
            lines = (self._cut.get(log, b"") + log.read()).split(b"\n")
            self._cut[log] = lines.pop()
            for line in lines:
                if b'"Invalidated ' in line:
                    self._invalidated(json.loads(line))
                elif b'"msg": "the whole cache was flushed"' in line:
                    self._flushed(log)
                elif b'"msg": "the whole cache will be flushed"' in line:
                    # It is read a little late, so commits made since are not attributed to it.
                    self._flush_began.setdefault(log, self._before)
        self._before = self._checker.versions()

    def _invalidated(self, line: dict[str, str]) -> None:
        name = line.get("collection") or line.get("write_name") or ""
        model, version = self._awaited.get(name, (None, 0))
        seen = self._seen.setdefault(name, set())
        seen.add(line["msg"])
        if model is not None and seen >= self._lines:
            self._checker.applied(model, version, f"{line['source']} {name} applied")
            self._checker.counts["invalidations applied"] += 1

    def _flushed(self, log: BinaryIO) -> None:
        self._checker.counts["flushes applied"] += 1
        for model, version in self._flush_began.pop(log, {}).items():
            self._checker.applied(model, version, "flushed")

    def close(self) -> None:
        for log in self._logs:
            log.close()
