"""`EnvoyProcess`: one Envoy process, with the serving interpreter inside, from its start to its end."""

import asyncio
import logging
import re
import signal
from collections import deque
from multiprocessing import Pipe

from proxy.envoy.control import Ended, Failed, Hello, Live, Stop

_log = logging.getLogger(__name__)

_STDERR = 2
_LONGEST_LINE = 64 << 10
_LAST_LINES = 5
_MOST_KEPT = 100
_ENDS_WITHIN = 10.0
"""Seconds between SIGTERM, which is sent when everything inside is done, and SIGKILL."""
_LEVELS = {"critical": logging.CRITICAL, "error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}
_EXPECTED = re.compile(r"caught ENVOY_SIGTERM$|is marked as work-in-progress")
"""Lines that are expected, and only logged as debug."""


class EnvoyProcess:
    """Created inside the event loop, and started once."""

    def __init__(self) -> None:
        self.live = asyncio.Event()
        """Set when callers are served."""
        self.done = asyncio.Event()
        """Set when the process has ended, or the proxy inside is done."""
        self.failed: Failed | None = None
        self.ended: Ended | None = None
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        """The last lines that Envoy logged as errors, the newest last."""
        self._kept: deque[tuple[int, str, str]] | None = deque(maxlen=_MOST_KEPT)
        """Its lines until it is known whether it serves. If the proxy inside cannot start, its own message says why,
        and these lines are dropped."""
        self._ours, self._theirs = Pipe()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id of Envoy, which must have been started."""
        assert self._process is not None  # noqa: S101 -- see above
        return self._process.pid

    async def start(self, command: list[str], hello: Hello) -> None:
        """Starts Envoy in the private directory; `live` or `done` is set later. Raises OSError if it cannot start."""
        self._ours.send(hello)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=self._theirs.fileno(),
                stdout=_STDERR,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                cwd=hello.place.directory,
                start_new_session=True,  # so that Ctrl-C reaches only `serve`, which passes it on
            )
        finally:
            self._theirs.close()
        asyncio.get_running_loop().add_reader(self._ours.fileno(), self._told)
        self._reading = asyncio.create_task(self._read(self._process), name="envoy's log")

    def ask_to_stop(self) -> None:
        """Makes it drain; the second call makes it cut calls off."""
        try:
            self._ours.send(Stop())
        except OSError:
            _log.debug("Envoy has already exited")

    async def end(self) -> int:
        """Ends Envoy if it has not ended by itself. Returns its exit status, negative for the signal that ended it."""
        process, reading = self._process, self._reading
        if process is None or reading is None:
            self._ours.close()
            return 0
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await reading
                return await process.wait()
        except TimeoutError:
            _log.error("Envoy does not exit and is killed", extra={"seconds": _ENDS_WITHIN})
            return await self.kill()
        finally:
            asyncio.get_running_loop().remove_reader(self._ours.fileno())
            self._ours.close()

    async def kill(self) -> int:
        """Like `end`, but at once, by SIGKILL."""
        assert self._process is not None  # noqa: S101 -- it was started
        if self._process.returncode is None:
            self._process.kill()
        return await self._process.wait()

    def _told(self) -> None:
        try:
            message = self._ours.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._ours.fileno())
            return
        match message:
            case Live():
                self.live.set()
                self._show_kept()
            case Failed():
                self.failed = message
                self.done.set()
            case Ended():
                self.ended = message
                self.done.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Logs Envoy's lines until it has ended."""
        assert process.stderr is not None  # noqa: S101 -- it is a pipe
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than any line of Envoy; the rest arrives as another line
                continue
            if not line:
                break
            self._say(line.decode(errors="replace").rstrip("\n"))
        await process.wait()
        if self.failed is None:
            self._show_kept()
        self.done.set()

    def _show_kept(self) -> None:
        kept, self._kept = self._kept, None
        for number, logger, text in kept or ():
            _log.log(number, "envoy: %s", text, extra={"envoy_logger": logger})

    def _say(self, line: str) -> None:
        level, _, rest = line.partition(" ")
        logger, _, text = rest.partition(" ")
        if level not in _LEVELS:  # written by Python or Rust, not by Envoy's log
            level, logger, text = "warning", "stderr", line
        number = _LEVELS[level]
        if _EXPECTED.search(text):
            number = logging.DEBUG
        if number >= logging.ERROR or logger == "stderr":
            self.last.append(text)
        if self._kept is not None:
            self._kept.append((number, logger, text))
        else:
            _log.log(number, "envoy: %s", text, extra={"envoy_logger": logger})
