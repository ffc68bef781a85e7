"""docs/reliability.md: each row names tests that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SELECTION = re.compile(r'`(tests/[\w/]+\.py)(?: -k (?:"([^"]+)"|(\S+)))?`')
TEXT = (ROOT / "docs" / "reliability.md").read_text()


def _rows() -> Iterator[str]:
    """Of the tables whose last column is the test."""
    column = ""
    for line in TEXT.splitlines():
        if not line.startswith("|"):
            column = ""
        elif not column:
            column = line.rstrip(" |").rpartition("|")[2].strip()
        elif column == "test" and not line.startswith("|---"):
            yield line


ROWS = list(_rows())


def _named(row: str) -> list[tuple[str, str]]:
    """File and words of the selections in a row's last cell."""
    cell = row.rstrip(" |").rpartition(" | ")[2]
    return [(path, quoted or word) for path, quoted, word in _SELECTION.findall(cell)]


def test_there_are_rows() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:60] for row in ROWS])
def test_the_tests_of_a_row_exist(row: str) -> None:
    selections = _named(row)
    assert selections, "its last cell names no test"
    for path, words in selections:
        names = re.findall(
            r"^ *(?:async def (test_\w+)|def (test_\w+)|class (Test\w+))", (ROOT / path).read_text(), re.MULTILINE
        )
        known = [name for each in names for name in each if name]
        assert known, path
        for word in words.split(" or ") if words else ():
            assert any(word in name for name in known), f"{path} has no test that {word!r} selects"


def test_every_path_exists() -> None:
    for path in set(re.findall(r"tests/[\w/]+(?:\.py)?", TEXT)):
        assert (ROOT / path).exists(), path
