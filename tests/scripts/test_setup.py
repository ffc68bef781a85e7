"""setup.py and the package made by it: its addresses and the links of its page, from a clone and from an sdist."""

import email
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from tests.support.servers.process import ROOT

SETUP = runpy.run_path(str(ROOT / "setup.py"))
URL = "https://git.example.org/media/media-cache-proxy"


@pytest.mark.parametrize(
    ("given", "origin", "expected"),
    [
        (URL, "", URL),
        (URL + "/", "https://elsewhere.example.org/x", URL),
        ("", URL + ".git", URL),
        ("", "git@git.example.org:media/media-cache-proxy.git", URL),
        ("", "ssh://git@git.example.org/media/media-cache-proxy.git", URL),
        ("", "/srv/git/media-cache-proxy", ""),
        ("", "", ""),
        ("http://plain.example.org/x", "", ""),
    ],
)
def test_the_address_is_one_of_the_web_or_none(given: str, origin: str, expected: str) -> None:
    assert SETUP["address"]({"PROJECT_URL": given}, origin) == expected


def test_links_of_the_readme_are_absolute_or_none() -> None:
    text = "[a](docs/a.md#part), [b](https://b.example.org/), [c](#below)"
    assert SETUP["readme"](text, URL, "1.2") == (
        f"[a]({URL}/blob/v1.2/docs/a.md#part), [b](https://b.example.org/), [c](#below)"
    )
    assert SETUP["readme"](text, "", "1.2") == "a, [b](https://b.example.org/), [c](#below)"


def _made(kind: str, source: Path, into: Path, url: str) -> Path:
    """The one distribution that setuptools makes of a source tree."""
    code = f"import setuptools.build_meta as it; it.build_{kind}({str(into)!r})"
    env = {"PATH": "/usr/bin:/bin", "PROJECT_URL": url}
    subprocess.run([sys.executable, "-c", code], cwd=source, env=env, check=True, capture_output=True, timeout=100)
    (made,) = into.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith("/METADATA"))
        return email.message_from_bytes(packed.read(name))


@pytest.mark.parametrize("url", [URL, ""])
def test_a_wheel_made_of_the_sdist_is_the_one_made_of_the_clone(tmp_path: Path, url: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "proxy", source / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    sdist = _made("sdist", source, tmp_path, url)
    direct = _made("wheel", source, tmp_path, url)
    unpacked, again = tmp_path / "unpacked", tmp_path / "again"
    with tarfile.open(sdist) as packed:
        packed.extractall(unpacked, filter="data")
    again.mkdir()
    (inside,) = unpacked.iterdir()
    metadata, other = _metadata(direct), _metadata(_made("wheel", inside, again, ""))
    assert metadata.as_string() == other.as_string()
    addresses = dict(each.split(", ") for each in metadata.get_all("Project-URL") or ())
    assert set(addresses) == ({"Repository", "Issues", "Documentation", "Changelog", "Security"} if url else set())
    links = re.findall(r"\]\(([^)]+)\)", str(metadata.get_payload()))
    assert all(link.startswith(f"{URL}/blob/v") for link in links)
    assert bool(links) is bool(url)
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(next(again.glob("*.whl"))) as two:
        assert set(one.namelist()) == set(two.namelist())
