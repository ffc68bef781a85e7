"""The directory of Envoy's sockets is removed with its process, or at the latest when the next one starts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from proxy.envoy.directory import own_directory
from proxy.errors import StartError
from tests.support.servers.process import ROOT

HOLDS = """
from proxy.envoy.directory import own_directory
with own_directory() as directory:
    (directory / "admin.sock").touch()
    print(directory, flush=True)
    input()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holder(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Another process with its own directory."""
    environment = {**os.environ, "TMPDIR": str(parent), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_ours_alone_and_gone_at_the_end(parent: Path) -> None:
    with own_directory() as directory:
        assert directory.parent == parent
        assert directory.stat().st_mode & 0o077 == 0
    assert list(parent.iterdir()) == []


def test_that_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(parent: Path) -> None:
    (killed, left), (living, used) = holder(parent), holder(parent)
    killed.kill()
    killed.communicate()
    assert (left / "admin.sock").exists()
    with own_directory() as ours:
        assert set(parent.iterdir()) == {used, ours}
    living.communicate("\n")
    assert list(parent.iterdir()) == []


def test_one_that_is_just_being_made_is_left_alone_and_an_old_one_is_not(parent: Path) -> None:
    new, old = parent / "media-cache-proxy-new", parent / "media-cache-proxy-old"
    for directory in (new, old, parent / "something-else"):
        directory.mkdir()
    os.utime(old, (1, 1))
    with own_directory() as ours:
        assert set(parent.iterdir()) == {new, ours, parent / "something-else"}


def test_a_link_is_not_followed(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").touch()
    os.utime(elsewhere, (1, 1))
    (parent / "media-cache-proxy-link").symlink_to(elsewhere)
    with own_directory():
        assert (elsewhere / "precious").exists()


def test_where_none_can_be_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    with pytest.raises(StartError, match="a writable one in TMPDIR"), own_directory():
        pass
