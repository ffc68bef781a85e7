"""`Child`: a process that the tests start, signal and end, and that never outlives them; and ports for it.

Not bound to an event loop, so that a server of the whole session can be used from the loop of each test.
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

# Below the kernel's ephemeral ports, also with the 10000 that a Redis Cluster bus adds: nobody's outgoing connection
# takes a port while its server is down.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# No two processes of one run give the same port.
_PORTS = range(10_000 + _WORKER, 22_000, _WORKERS)
_given: set[int] = set()


def free_port() -> int:
    """A port on which nobody listens; in one test run no port is given twice."""
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
        """Starts it from the calling thread, whose end would end it too; it need not be ready when this returns."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.directory.mkdir(parents=True, exist_ok=True)
        # setpriv asks the kernel to kill the child when we die, however we die. Unlike a preexec_fn it is safe beside
        # the threads of gRPC, and the signal survives the exec of what it starts.
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
        """The exit status, minus the signal's number when a signal ended it; None while it runs."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; does nothing when the process has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered. Returns once the kernel has stopped it."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT | os.WEXITED)
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was."""
        self.signal(signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        """SIGKILL; returns once it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._frozen = False

    async def stop(self, timeout: float = 20) -> int:
        """SIGTERM; returns the exit status once it has ended. TimeoutError after `timeout` s (it is killed then)."""
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            return await self.exited(timeout)
        except TimeoutError:
            self.kill()
            raise

    async def exited(self, timeout: float = 20) -> int:
        """Waits until it has ended by itself; its exit status."""
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
        """RuntimeError with the end of its output when it has ended."""
        if not self.running:
            tail = "\n".join((self.stdout + self.stderr).splitlines()[-20:])
            raise RuntimeError(f"{self.name} ended with status {self.returncode}:\n{tail}")
