"""The house check sees each breach, and the set-up says in one line what a machine lacks."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.house import MAX_LINES, MAX_TEST_LINES, breaches
from tests.support.servers.process import ROOT


def _tree(root: Path, **texts: str) -> list[str]:
    """Files below `root`; `proxy__a_py` is `proxy/a.py`."""
    names = [name.replace("__", "/").replace("_py", ".py").replace("_md", ".md") for name in texts]
    for name, text in zip(names, texts.values(), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return names


class TestHouse:
    def test_a_tree_in_order_has_none(self, tmp_path: Path) -> None:
        files = _tree(tmp_path, proxy__a_py="x\n" * MAX_LINES, tests__test_a_py="", README_md="x\n" * 1000)
        assert list(breaches(tmp_path, files)) == []

    def test_a_long_file_is_named_with_its_length(self, tmp_path: Path) -> None:
        files = _tree(tmp_path, tests__a_py="x\n" * (MAX_LINES + 1))
        (line,) = breaches(tmp_path, files)
        assert line.startswith(f"tests/a.py: {MAX_LINES + 1} lines")

    def test_a_file_of_tests_may_be_half_as_long_again(self, tmp_path: Path) -> None:
        files = _tree(
            tmp_path, tests__test_a_py="x\n" * MAX_TEST_LINES, tests__b__test_b_py="x\n" * (MAX_TEST_LINES + 1)
        )
        (line,) = breaches(tmp_path, files)
        assert line.startswith(f"tests/b/test_b.py: {MAX_TEST_LINES + 1} lines")

    def test_generated_stubs_may_be_long_and_untested(self, tmp_path: Path) -> None:
        files = _tree(tmp_path, proxy__pb__media_pb2_py="x\n" * 1000, proxy__pb__more_py="")
        assert list(breaches(tmp_path, files)) == []

    def test_a_source_file_without_a_test_file(self, tmp_path: Path) -> None:
        files = _tree(tmp_path, proxy__a_py="", proxy__sub__b_py="", proxy__sub__c_py="", tests__sub__test_b_py="")
        assert list(breaches(tmp_path, files)) == [
            "proxy/a.py: has no tests/test_a.py",
            "proxy/sub/c.py: has no tests/sub/test_c.py",
        ]

    def test_the_event_loops_time_in_the_proxy(self, tmp_path: Path) -> None:
        text = "asyncio.get_running_loop().time()"
        files = _tree(
            tmp_path, proxy__a_py="self._loop.time()", proxy__b_py=text, tests__test_a_py=text, tests__test_b_py=""
        )
        assert [line.partition(": measures")[0] for line in breaches(tmp_path, files)] == ["proxy/a.py", "proxy/b.py"]

    def test_what_names_the_media_service_outside_of_its_places(self, tmp_path: Path) -> None:
        text = "of media.MediaService\n"
        files = _tree(
            tmp_path, proxy__a_py=text, proxy__media_cache_py=text, proxy__b_py="MediaCacheService", README_md=text
        )
        told = [line for line in breaches(tmp_path, files) if "has no" not in line]
        assert [line.partition(";")[0] for line in told] == ["proxy/a.py: names MediaService"]

    def test_a_path_out_of_the_project(self, tmp_path: Path) -> None:
        files = _tree(tmp_path, README_md="see ../" + "shared/notes.md")
        (line,) = breaches(tmp_path, files)
        assert line.startswith("README.md: names ../")

    def test_bytes_that_are_no_text_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "picture.py").write_bytes(b"\xff\xd8" + b"\n" * 1000)
        assert list(breaches(tmp_path, ["picture.py", "deleted.py"])) == []


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A clone with nothing set up, and in `bin` all that a machine without servers and apt-get has."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup", tmp_path / "scripts/setup")
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "cat", "dirname", "env", "flock", "sha256sum", "tail", "false"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


def _setup(bare: Path, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": str(bare / "bin"), **env}
    command = [str(bare / "scripts/setup"), *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


class TestSetup:
    def test_what_is_missing_and_cannot_be_installed_is_named_with_the_command(self, bare: Path) -> None:
        done = _setup(bare)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("setup: not installed: redis-server")
        assert "; install them: sudo apt-get install redis-server" in line
        assert not (bare / ".venv").exists()

    def test_the_demo_goes_on_without_servers(self, bare: Path) -> None:
        done = _setup(bare, "demo", PYTHON="false")
        assert done.stderr.startswith("setup: not installed: redis-server")
        assert "going on without" in done.stderr
        assert "Python 3.11 or newer is needed" in done.stderr

    @pytest.mark.parametrize("python", ["false", "/no/such/python"])
    def test_a_python_that_is_too_old_or_none(self, bare: Path, python: str) -> None:
        done = _setup(bare, "check", PYTHON=python)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"setup: Python 3.11 or newer is needed, {python} is ")
        assert line.endswith("or name it: PYTHON=/path/to/python3.11 make setup")

    def test_an_argument_that_is_not_understood(self, bare: Path) -> None:
        done = _setup(bare, "everything")
        assert (done.returncode, done.stderr) == (
            1,
            "setup: 'everything' is not understood; accepted: bench, check, cluster, demo, or nothing\n",
        )


def test_a_check_that_does_not_exist_fails() -> None:
    done = subprocess.run([ROOT / "scripts/check", "spelling"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "no such check; accepted: format lint" in done.stdout


def test_the_pins_name_no_index_and_no_url() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(pins) > 20
    for pin in pins:
        name, _, version = pin.partition("==")
        assert name.replace("-", "").replace("_", "").isalnum(), pin
        assert version[0].isdigit(), pin
        assert "//" not in pin, pin
