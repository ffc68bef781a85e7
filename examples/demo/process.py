"""`Process`: a child process of the demo, which logs to a file and ends with the demo, however that ends."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

_POLL = 0.02
# The kernel kills the child when the demo dies; the shell ends the child at once if the demo died before this took
# effect. Unlike a preexec_fn, this is safe in a process with threads.
_DIES_WITH_US = ("--pdeathsig", "KILL", "/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')

_TRACES = {
    name: value for name, value in os.environ.items() if name.startswith("OTEL_") and name != "OTEL_SERVICE_NAME"
}
"""Settings for where spans go, without the service's name, which each service sets itself."""


class FailedError(Exception):
    """A server did not start, or a step did not do what it says; the text says which and why."""


class Process:
    """One server. `where` is shown as its address; its output is appended to `log`, also after restarts."""

    def __init__(
        self,
        name: str,
        where: str,
        command: list[str],
        log: Path,
        is_ready: Callable[[], Awaitable[bool]],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.where, self.log = name, where, log
        self._is_ready = is_ready
        setpriv = shutil.which("setpriv")
        self._command = [setpriv, *_DIES_WITH_US, str(os.getpid()), *command] if setpriv else command
        # The user's own settings must not reach the demo's servers.
        self._env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | _TRACES | dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    def _spawn(self) -> None:
        """Starts it in its own session, so that Ctrl-C reaches only the demo, which then ends it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Sends SIGKILL; returns once it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self, timeout: float = 10) -> None:
        """Sends SIGTERM, and SIGKILL if it does not end in time, or if this call is cancelled."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(TimeoutError):
                await until(lambda: not self.running, timeout)
        finally:
            self.kill()

    async def start(self, timeout: float = 60) -> None:
        """Returns once it is ready; FailedError if it ends before, or takes too long."""

        async def ready_or_ended() -> bool:
            return not self.running or await self._is_ready()

        self._spawn()
        try:
            await until(ready_or_ended, timeout)
        except TimeoutError:
            raise FailedError(f"{self.name} was not ready after {timeout:g} s; see {self.log}") from None
        if not self.running:
            last = "".join(f"\n    {line}" for line in self.lines()[-10:])
            raise FailedError(f"{self.name} ended at its start; the end of {self.log}:{last}")

    def lines(self) -> list[str]:
        """Returns its output so far."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


async def until(condition: Callable[[], Awaitable[object] | object], timeout: float) -> None:
    """Returns once the condition, which may be async, is true; TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            result = condition()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(_POLL)
