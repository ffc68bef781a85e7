"""The image: its health check, the wheel in it, and, where buildah can build, each target built and started."""

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT


def _health_check() -> list[str]:
    """The command of HEALTHCHECK, as Docker reads it: line continuations first, then JSON."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    (line,) = (line for line in text.splitlines() if line.startswith("HEALTHCHECK"))
    program, *rest = json.loads(line[line.index("[") :])
    assert program == "python"
    return [sys.executable, *rest]


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = getattr(self.server, "status") if self.path == "/healthz" else 404  # noqa: B009 -- set below
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def _healthz(status: int) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.status = status  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _status(probe_addr: str) -> int:
    env = {"PROBE_ADDR": probe_addr}
    return subprocess.run(_health_check(), env=env, capture_output=True, check=False, timeout=60).returncode


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])  # noqa: S104
def test_the_health_check_asks_where_probe_addr_says(host: str) -> None:
    with _healthz(200) as port:
        assert _status(f"{host}:{port}") == 0


def test_an_answer_other_than_200_is_unhealthy() -> None:
    with _healthz(503) as port:
        assert _status(f"127.0.0.1:{port}") == 1


def test_no_answer_is_unhealthy() -> None:
    assert _status(f"0.0.0.0:{free_port()}") == 1


def test_without_probes_there_is_nothing_to_ask() -> None:
    assert _status("") == 0


def test_the_image_is_made_of_what_it_copies() -> None:
    """What Dockerfile copies out of the context is what .dockerignore lets in."""
    copied = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied.update(line.split()[1:-1])
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept


def test_the_wheel_has_all_that_the_package_has(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "proxy", tmp_path / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", tmp_path, tmp_path], check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if ".dist-info/" not in name}
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "proxy").rglob("*") if path.is_file()}
    assert {"proxy/py.typed", "proxy/pb/media_pb2.py"} <= files
    assert any(name.endswith(".lua") for name in files)
    assert inside == files


def _can_build() -> bool:
    """Root, who may mount, and the two programs."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "debootstrap"))):
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0


if _can_build():

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize("target", ["proxy", "envoy", "webhook"])
    def test_each_target_serves_read_only_without_rights_and_can_install_nothing(target: str) -> None:
        made = subprocess.run(
            ["scripts/image", "check", target], cwd=ROOT, check=False, capture_output=True, text=True, timeout=1700
        )
        assert made.returncode == 0, made.stderr
        assert "serves, read-only and as user 65532" in made.stderr
