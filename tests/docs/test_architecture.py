"""ARCHITECTURE.md: the files, functions, constants and tests that it names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
FILES = [
    path.relative_to(ROOT).as_posix() for top in ("proxy", "tests", "scripts") for path in (ROOT / top).rglob("*.*")
]
NAMED = sorted(set(re.findall(r"`([\w/]+\.(?:py|lua|yaml))(?::([\w.]+))?`", TEXT)))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+)/?`|`(test_\w+)`", TEXT)))


def test_names_are_found() -> None:
    assert len(NAMED) > 100
    assert len(TESTS) > 20


@pytest.mark.parametrize(("name", "members"), NAMED, ids=[":".join(filter(None, each)) for each in NAMED])
def test_a_file_and_its_function_exist(name: str, members: str) -> None:
    found = [ROOT / file for file in FILES if f"/{file}".endswith(f"/{name}")]
    assert found
    wanted = [rf"(?m)\b(?:def|class) {member}\b|^{member}\b.* = " for member in members.split(".") if member]
    texts = [path.read_text() for path in found]
    assert any(all(re.search(each, text) for each in wanted) for text in texts), f"no {members} in {found}"


@pytest.mark.parametrize(("folder", "file"), TESTS)
def test_a_test_exists(folder: str, file: str) -> None:
    if folder:
        assert (ROOT / folder).exists()
    else:
        assert any(each.endswith(f"/{file}.py") for each in FILES)
