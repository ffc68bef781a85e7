"""`spinning`: processes that take all the time they can get, so that the machine is as busy as a test wants it."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers.children import Child


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many, each on one core if it can; they are gone when the block ends."""
    with ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="spinning-")))
        for number in range(count):
            child = Child(f"spinning {number}", [sys.executable, "-c", "while True: pass"], directory)
            child.spawn()
            exits.callback(child.kill)
        yield
