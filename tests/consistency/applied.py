"""`Applied`: what the proxies say that they have applied, read from their logs, told to the `Checker`.

A proxy logs an invalidation after Redis confirmed it and before it acknowledges the event or answers the write; the
line names the event or write by its collection, which is made up for that.
"""

import json
from pathlib import Path
from typing import BinaryIO

from proxy.policy.builtin.model import Model
from tests.consistency.checker import Checker


class Applied:
    """Reads on where it left off, each time it is asked."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._logs: list[BinaryIO] = []
        self._cut: dict[BinaryIO, bytes] = {}
        self._awaited: dict[str, tuple[Model, int]] = {}
        self._flush_began: dict[BinaryIO, dict[Model, int]] = {}
        self._before: dict[Model, int] = {}

    def watch(self, log: Path) -> None:
        """One more proxy's."""
        self._logs.append(log.open("rb"))

    def awaits(self, name: str, model: Model, version: int) -> None:
        """An event or a write of this name stands for a commit."""
        self._awaited[name] = (model, version)

    def read_on(self) -> None:
        """Everything that was logged until now."""
        for log in self._logs:
            lines = (self._cut.get(log, b"") + log.read()).split(b"\n")
            self._cut[log] = lines.pop()
            for line in lines:
                if b'"Invalidated ' in line:
                    self._invalidated(json.loads(line))
                elif b'"msg": "the whole cache was flushed"' in line:
                    self._flushed(log)
                elif b'"msg": "the whole cache will be flushed"' in line:
                    # Seen a little late: so commits made since are not claimed for it.
                    self._flush_began.setdefault(log, self._before)
        self._before = self._checker.versions()

    def _invalidated(self, line: dict[str, str]) -> None:
        model, version = self._awaited.get(line["collection"], (None, 0))
        if model is not None:
            self._checker.applied(model, version, f"{line['source']} {line['collection']} applied")
            self._checker.counts["invalidations applied"] += 1

    def _flushed(self, log: BinaryIO) -> None:
        self._checker.counts["flushes applied"] += 1
        for model, version in self._flush_began.pop(log, {}).items():
            self._checker.applied(model, version, "flushed")

    def close(self) -> None:
        for log in self._logs:
            log.close()
