"""`ProxyProcess`: the proxy as its users run it, `python -m proxy serve`, as a process."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.support.servers.children import Child, free_port
from tests.support.servers.server import Server
from tests.support.servers.waiting import until

ROOT = Path(__file__).parents[3]
TRANSPORT_OF_TESTS = "PROXY_TRANSPORT"
"""The variable with the TRANSPORT of proxies whose test does not set it."""


class ProxyProcess(Server):
    """`python -m proxy serve` on free ports with these settings (`CACHE_TTL="1s"`); no Redis, no RabbitMQ by default.

    Of the tests' environment it gets only PATH. `module` replaces the proxy's own module.
    """

    def __init__(self, *args: str, module: str = "proxy", **settings: str) -> None:
        self.listen_port, self.probe_port, self.admin_port = free_port(), free_port(), free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="test-proxy-"))
        self.settings = {
            "LISTEN_ADDR": f"127.0.0.1:{self.listen_port}",
            "PROBE_ADDR": f"127.0.0.1:{self.probe_port}",
            "ADMIN_ADDR": f"127.0.0.1:{self.admin_port}",
            "REDIS_ADDR": "",
            "RABBITMQ_ADDR": "",
            "TRANSPORT": os.environ.get(TRANSPORT_OF_TESTS, "grpcio"),
            **settings,
        }
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.settings}
        env["TMPDIR"] = str(self.directory)  # what a killed one leaves behind goes with it
        command = [sys.executable, "-m", module, *(args or ("serve",))]
        self.child = Child(f"the proxy on port {self.listen_port}", command, self.directory, env)

    @property
    def addr(self) -> str:
        """Where callers connect."""
        return self.settings["LISTEN_ADDR"]

    @property
    def stdout(self) -> str:
        return self.child.stdout

    @property
    def stderr(self) -> str:
        return self.child.stderr

    @property
    def lines(self) -> list[str]:
        """All lines written so far, those of stdout first."""
        return (self.stdout + self.stderr).splitlines()

    async def serving(self) -> bool:
        """/readyz answers 200."""
        try:
            status, _ = await self.probe("/readyz")
        except OSError:
            return False
        return status == 200

    async def probe(self, path: str) -> tuple[int, str]:
        """GET on PROBE_ADDR: status and body; OSError when nobody answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.probe_port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if not head:
            raise ConnectionResetError(f"GET {path}: no answer")
        return int(head.split()[1]), body.decode()

    async def metric(self, name: str) -> float:
        """The sum of a metric over all its labels, or over those in `name{label="value"}`; 0 if it does not exist."""
        _, text = await self.probe("/metrics")
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        (wanted, labels), parsed = _labelled(name), [(*_labelled(key), float(value)) for key, value in samples]
        return sum(value for named, has, value in parsed if named == wanted and labels <= has)

    async def logged(self, text: str, times: int = 1, timeout: float = 30) -> list[str]:
        """Waits until `times` lines contain `text`, and returns them."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        await until(lambda: len(found()) >= times, f"{times} lines with {text!r} from {self.child.name}", timeout)
        return found()

    def terminate(self) -> None:
        """Sends SIGTERM; `exited()` waits for the end."""
        self.child.signal(signal.SIGTERM)

    async def exited(self, timeout: float = 30) -> int:
        """Waits until it has ended by itself; returns its exit status."""
        return await self.child.exited(timeout)


def _labelled(sample: str) -> tuple[str, set[str]]:
    """Splits `name{a="1",b="2"}` into its name and `a="1"`, `b="2"`; the tests use no commas in label values."""
    name, _, labels = sample.partition("{")
    return name, set(filter(None, labels.rstrip("}").split(",")))
