"""`Report`: the output of the demo: progress while it starts, one line per step, a table at the end."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TextIO

_WIDTH = 18
_COLOURS = {"green": "32", "red": "31", "dim": "2", "bold": "1"}


class Report:
    """Writes to `out`; in colour on a terminal, unless NO_COLOR is set (https://no-color.org)."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")

    def say(self, text: str = "", colour: str = "") -> None:
        """Prints one line."""
        print(self._in(colour, text), file=self._out, flush=True)

    @asynccontextmanager
    async def progress(self, name: str) -> AsyncIterator[Callable[[str], None]]:
        """Prints a line that begins with `name`, grows by a dot each half second, and ends with the callback's text."""
        print(f"  {name:<{_WIDTH}}", end=" ", file=self._out, flush=True)
        started = time.monotonic()
        dots = asyncio.create_task(self._dots(), name="progress")
        results: list[str] = []
        try:
            yield results.append
        finally:
            dots.cancel()
            with suppress(asyncio.CancelledError):
                await dots
            took = f"({time.monotonic() - started:.1f} s)"
            self.say(f"{results[-1]} {took}" if results else f"failed {took}", "" if results else "red")

    async def _dots(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            print(".", end="", file=self._out, flush=True)

    def step(self, passed: bool | None, text: str) -> None:
        """Prints a step that did what it says, or did not, or (None) could not be shown here."""
        mark, colour = {True: ("ok ", "green"), False: ("FAILED", "red"), None: ("off", "dim")}[passed]
        self.say(f"  {self._in(colour, mark)} {text}")

    def table(self, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Prints rows of text below a head; the first column is aligned left, the others right."""
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        for number, row in enumerate([head, tuple("-" * width for width in widths), *rows]):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            self.say(f"  {'  '.join(cells)}", "bold" if number == 0 else "")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colour and colour and text else text
