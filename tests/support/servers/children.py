"""`Child`: a process that the tests start, signal and end, and that never outlives them; and its ports.

It is not bound to an event loop, so that a server of the session can be used from the loop of each test.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers.waiting import until

# Below the kernel's ephemeral ports, also with the 10000 that a Redis Cluster bus adds, so that no outgoing connection
# takes a port while its server is down.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# No two processes of one run return the same port.
_PORTS = range(10_000 + _WORKER, 22_000, _WORKERS)
_given: set[int] = set()


def free_port() -> int:
    """Returns a port on which nothing listens; in one test run no port is returned twice."""
    choice = random.SystemRandom()
    while True:
        port = choice.choice(_PORTS)
        if port not in _given and _bindable(port) and _bindable(port + 10_000):
            _given.add(port)
            return port


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def program(package: str, *candidates: str) -> str:
    """The first of `candidates` that is installed; RuntimeError says in one line which package to install."""
    for candidate in candidates:
        found = shutil.which(candidate)
        if found:
            return found
    raise RuntimeError(f"{candidates[0]} is not installed; run: scripts/setup (or: apt-get install {package})")


class Child:
    """One child process; its output goes to the files `stdout` and `stderr` in `directory`, appended at a restart."""

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.directory = directory
        self.env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    def spawn(self) -> None:
        """Starts it from the calling thread, whose end would end it too; it may not be ready when this returns."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.directory.mkdir(parents=True, exist_ok=True)
        # setpriv asks the kernel to kill the child when this process dies, however it dies. Unlike a preexec_fn it is
        # safe with gRPC's threads, and the setting survives the exec of the program.
        with (self.directory / "stdout").open("ab") as out, (self.directory / "stderr").open("ab") as err:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command],
                cwd=self.directory,
                env=None if self.env is None else dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id; RuntimeError when it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def frozen(self) -> bool:
        return self.running and self._frozen

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it runs."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; does nothing when the process has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Sends SIGSTOP: connections stay open, nothing is answered. Returns once the kernel has stopped it."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT | os.WEXITED)
        self._frozen = True

    def thaw(self) -> None:
        """Sends SIGCONT."""
        self.signal(signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        """Sends SIGKILL; returns once it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._frozen = False

    async def stop(self, timeout: float = 20) -> int:
        """Sends SIGTERM; returns the exit status once it has ended. After `timeout` s it is killed: TimeoutError."""
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            return await self.exited(timeout)
        except TimeoutError:
            self.kill()
            raise

    async def exited(self, timeout: float = 20) -> int:
        """Waits until it has ended by itself; returns its exit status."""
        await until(lambda: not self.running, f"the end of {self.name}", timeout)
        status = self.returncode
        if status is None:
            raise RuntimeError(f"{self.name} was not started")
        return status

    @property
    def stdout(self) -> str:
        return (self.directory / "stdout").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text(errors="replace")

    def require_running(self) -> None:
        """Raises RuntimeError with the end of its output if it has ended."""
        if not self.running:
            tail = "\n".join((self.stdout + self.stderr).splitlines()[-20:])
            raise RuntimeError(f"{self.name} ended with status {self.returncode}:\n{tail}")
