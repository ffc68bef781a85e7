"""Checks the house rules that no linter knows; prints one line per breach, and ends with status 1 if there is any."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_LINES = 300
MAX_TEST_LINES = 450
"""A file of tests reads like a list, and need not be read in one go."""
_TEST = re.compile(r"tests/(?:.+/)?test_\w+\.py$")
_NOTHING_TO_TEST = frozenset({"proxy/errors.py"})
# Code that people read, so not the generated stubs.
_CODE = (".py", ".lua", ".sh")
_GENERATED = ("proxy/pb/", "examples/pb/")
# Contains the notes from which the project was built; readers who have only the project cannot follow such a path.
_OUTSIDE = "../" + "shared"
_MEDIA = re.compile(
    r"MediaService\b|\bmedia_pb2|GetFilesByModel|UploadFile\b|DeleteFile\b|GetFileBy|GetFileURL|GetAllMedia"
)
_KNOWS_MEDIA = ("proxy/policy/builtin/", "proxy/media_cache.py")
"""The only places that know a particular service: all others serve any service, by its policy."""
_COARSE = re.compile(r"loop(\(\))?\.time\b")
"""uvloop rounds it to milliseconds, and a hit takes less than one."""


def breaches(root: Path, files: list[str]) -> Iterator[str]:
    """Yields one line per breach among `files`, which are relative to `root`."""
    for name in files:
        text = _text(root / name)
        if text is None or name.startswith(_GENERATED):
            continue
        lines = text.count("\n")
        most = MAX_TEST_LINES if _TEST.match(name) else MAX_LINES
        if name.endswith(_CODE) and lines > most:
            yield f"{name}: {lines} lines; split it into files of at most {most}, one concept each"
        if _OUTSIDE in text:
            yield f"{name}: names {_OUTSIDE}; say here what it says there"
        if name.startswith("proxy/") and _COARSE.search(text):
            yield f"{name}: measures by the event loop's time(); take time.monotonic, the same clock"
        if name.startswith("proxy/") and not name.startswith(_KNOWS_MEDIA) and (found := _MEDIA.search(text)):
            yield f"{name}: names {found[0]}; what knows media.MediaService is in {', '.join(_KNOWS_MEDIA)}"
    yield from _untested(files)


def _untested(files: list[str]) -> Iterator[str]:
    """`proxy/a/b.py` is tested by `tests/a/test_b.py`."""
    have = set(files)
    for name in files:
        path = Path(name)
        if path.parts[0] != "proxy" or path.suffix != ".py" or path.stem.startswith("__"):
            continue
        if name in _NOTHING_TO_TEST or name.startswith(_GENERATED):
            continue
        wanted = Path("tests", *path.parts[1:-1], f"test_{path.name}").as_posix()
        if wanted not in have:
            yield f"{name}: has no {wanted}"


def _text(path: Path) -> str | None:
    """Returns None for a file that is not text, or that is deleted and not committed yet."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
        return None


def main() -> int:
    """Checks all files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = list(breaches(ROOT, [name for name in files if (ROOT / name).exists()]))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
