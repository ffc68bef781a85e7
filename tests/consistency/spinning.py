"""`spinning`: processes that use all the CPU time they can get, to make the machine as busy as a test wants."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers.children import Child


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Runs `count` such processes, which each use up to one core, until the block ends."""
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="spinning-")))
        for number in range(count):
            child = Child(f"spinning {number}", [sys.executable, "-c", "while True: pass"], directory)
            child.spawn()
            exits.callback(child.kill)
        yield
