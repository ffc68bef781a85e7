"""`followed`: waits for a flush that takes longer than its answer may, and says on stderr how far it is."""

import sys
import time
from typing import TYPE_CHECKING, Any

from proxy.admin.lines import flush_line
from proxy.printable import printable

if TYPE_CHECKING:
    from proxy.admin.client import AdminClient

_EVERY = 0.5
_LINE_EVERY = 10.0
"""Seconds between two lines where stderr is not a terminal."""


def followed(ask: "AdminClient", answer: dict[str, Any]) -> dict[str, Any]:
    """The answer to the order once the flush has ended. The same answer at once if Redis does not take the flush."""
    told_at = 0.0
    terminal = sys.stderr.isatty()
    try:
        while not answer["done"]:
            flush = ask.get("/stats")["flush"]
            if flush is None:
                return {**{name: value for name, value in answer.items() if name != "note"}, "done": True}
            if flush["share"] is None:
                return answer
            if terminal or time.monotonic() - told_at >= _LINE_EVERY:
                told_at = time.monotonic()
                _say(f"flushing {printable(flush_line(flush))}", terminal)
            time.sleep(_EVERY)
        return answer
    finally:
        if told_at and terminal:
            _say("", terminal)


def _say(text: str, terminal: bool) -> None:
    """One line; on a terminal it replaces the one before."""
    sys.stderr.write(f"\r{text}\x1b[K" if terminal else f"{text}\n")
    sys.stderr.flush()
