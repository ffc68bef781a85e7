"""`Process`: a child of the demo that logs to a file, and that dies with the demo however that ends."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

_POLL = 0.02
# The kernel kills the child when we die; the shell ends it at once where we died before that was arranged. Unlike a
# preexec_fn, this is safe in a process with threads.
_DIES_WITH_US = ("--pdeathsig", "KILL", "/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')

_TRACES = {
    name: value for name, value in os.environ.items() if name.startswith("OTEL_") and name != "OTEL_SERVICE_NAME"
}
"""Where spans go, if anywhere: each service has a name of its own."""


class FailedError(Exception):
    """A server that did not start, or a step that did not do what it says; the text says which and why."""


class Process:
    """One server. `where` tells people how to reach it; its output is appended to `log`, across restarts."""

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
        # Nothing of the user's own settings reaches a server of the demo.
        self._env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | _TRACES | dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    def _spawn(self) -> None:
        """Starts it, in a session of its own: Ctrl-C reaches the demo only, which ends it in its turn."""
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
        """SIGKILL; returns once it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self, timeout: float = 10) -> None:
        """SIGTERM, and SIGKILL when that does not end it in time, or when we are not given the time."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(TimeoutError):
                await until(lambda: not self.running, timeout)
        finally:
            self.kill()

    async def start(self, timeout: float = 60) -> None:
        """Returns once it is ready; FailedError when it ends instead, or takes too long."""

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
        """All that it has written so far."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


async def until(condition: Callable[[], Awaitable[object] | object], timeout: float) -> None:
    """Returns once the condition, plain or async, is true; TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            result = condition()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(_POLL)
