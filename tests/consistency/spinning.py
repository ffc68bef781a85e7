"""`spinning`: busy processes, so that the machine is as loaded as a test wants it."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers.children import Child


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Runs this many, each on one core if possible; they are ended with the block."""
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="spinning-")))
        for number in range(count):
            child = Child(f"spinning {number}", [sys.executable, "-c", "while True: pass"], directory)
            child.spawn()
            exits.callback(child.kill)
        yield
