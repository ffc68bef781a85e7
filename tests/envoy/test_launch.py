"""The command that starts Envoy."""

import sys
from pathlib import Path

import find_libpython
import pytest

from proxy.envoy import launch
from proxy.errors import StartError


def test_the_interpreter_inside_finds_what_this_one_has() -> None:
    command = launch.command(Path("/run/envoy.json"), "info")
    environment = dict(each.split("=", 1) for each in command[: command.index("--")] if "=" in each)
    assert environment["PYTHONPATH"].split(":") == ["/run", *(path for path in sys.path if path)]
    assert Path(environment["LD_PRELOAD"]).name.startswith("libpython")
    assert command[command.index("-c") + 1] == "/run/envoy.json"
    assert Path(launch.module()).exists()


@pytest.mark.parametrize(("ours", "envoys"), [("debug", "info"), ("info", "warning"), ("error", "error")])
def test_envoy_says_no_more_than_we_do(ours: str, envoys: str) -> None:
    command = launch.command(Path("/run/envoy.json"), ours)
    assert command[command.index("--log-level") + 1] == envoys


def test_a_python_without_a_shared_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_libpython, "find_libpython", lambda: None)
    with pytest.raises(StartError, match=r"no shared library; accepted: one with libpython3\."):
        launch.command(Path("/run/envoy.json"), "info")


def test_half_a_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StartError, match="incomplete"):
        launch.module()
