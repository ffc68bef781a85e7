"""A program that measures what loading modules costs, by package: CPU time and private memory.

    python -m bench.loading proxy.app uvloop      one JSON object: package -> [seconds, bytes]

A module's cost excludes that of the modules that it imports.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from typing import Any

from proxy import starting

STANDARD = "Python's library"
_TOGETHER = {"opentelemetry", "google"}
"""Names that several packages share; the next name distinguishes them."""
_KIB = 1024


def package(module: str) -> str:
    """The package of a module, as named in the table."""
    first, *rest = module.split(".")
    if first in sys.stdlib_module_names:
        return STANDARD
    return ".".join([first, *rest[:1]]) if first in _TOGETHER else first


def private() -> int:
    """Bytes of the process' memory that are not file pages."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * _KIB


class _Account:
    """The cost so far, by package; a module's cost is subtracted from that of its importer."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self._inner: list[list[float]] = []

    def wrap(self, loader: Any, method: str) -> None:
        """Measures what this method of a loader costs for the module it is given."""
        original: Callable[[Any, Any], Any] = getattr(loader, method)

        def counted(itself: Any, module: Any) -> Any:
            name = getattr(module, "__name__", None) or module.name
            seconds, held = time.process_time(), private()
            self._inner.append([0.0, 0.0])
            try:
                return original(itself, module)
            finally:
                whole = [time.process_time() - seconds, private() - held]
                self._add(name, whole, self._inner.pop())

        setattr(loader, method, counted)

    def _add(self, module: str, whole: list[float], inner: list[float]) -> None:
        total = self.spent.setdefault(package(module), [0.0, 0.0])
        for each in (0, 1):
            total[each] += whole[each] - inner[each]
            if self._inner:
                self._inner[-1][each] += whole[each]


def main() -> None:
    """Loads the modules on the command line."""
    account = _Account()
    account.wrap(SourceFileLoader, "exec_module")
    account.wrap(ExtensionFileLoader, "create_module")
    account.wrap(ExtensionFileLoader, "exec_module")
    with starting.without_authorities():
        for name in sys.argv[1:]:
            starting.load(name)  # as `serve` does
    print(json.dumps(account.spent))


if __name__ == "__main__":
    main()
