"""Runs the real Helm, kubectl and promtool, and reads their output."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "media-cache-proxy"


@cache
def tool(name: str) -> str:
    """The program's path; it is fetched if it is not there yet."""
    more = [name] if name == "helm3" else []
    command = [sys.executable, str(ROOT / "scripts" / "kube-tools"), *more]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(Path(found.stdout.strip()) / name)


def run(name: str, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool(name), *map(str, arguments)], check=False, capture_output=True, text=True, input=given, timeout=60
    )


def template(*arguments: str | Path, chart: Path = CHART, kubernetes: str = "1.37") -> str:
    """The rendered manifests; the release is `mcp` in namespace `system`."""
    done = run("helm", "template", "mcp", chart, "--namespace", "system", "--kube-version", kubernetes, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in YAML(typ="safe").load_all(text) if each]


def one(found: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The only object of a kind whose name ends with `name`."""
    (match,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return match


def environment(found: list[dict[str, Any]], name: str = "-injector") -> dict[str, str]:
    """The variables of a Deployment's only container; a value from another source is empty."""
    (container,) = one(found, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
