"""`serve` with TRANSPORT=envoy: starts Envoy, restarts it after a crash, passes signals on, and ends with it.

It is a crash if a signal ends Envoy after callers have been served. If Envoy exits by itself, or never begins to serve,
`serve` ends as well, because it would happen again. If `serve` dies, the kernel kills Envoy.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Mapping, Sequence

from proxy.envoy import launch
from proxy.envoy.bootstrap import Place
from proxy.envoy.config_files import written
from proxy.envoy.control import Hello
from proxy.envoy.directory import own_directory
from proxy.envoy.process import EnvoyProcess
from proxy.envoy.start_errors import explained
from proxy.errors import StartError
from proxy.retry import jittered
from proxy.settings.config import Settings

_log = logging.getLogger(__name__)

_UP_WITHIN = 60.0
_STABLE = 60.0
"""Seconds after which a crash counts as the first one again."""
_DRAINED_LATE = 15.0
"""Seconds after DRAIN_TIME at which Envoy is killed if it has not ended."""


async def run(settings: Settings, *, sources: Mapping[str, str], faults: Sequence[str] = ()) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit status. Raises StartError if an address or an OTEL_ variable
    cannot be used, or if Envoy does not start.
    """
    with own_directory() as directory:
        place = Place(directory, launch.module(), launch.authorities())
        launch.laid_out(directory)
        command = launch.command(place.config, settings.log_level)
        return await _Supervisor(settings, sources, faults, place, command).run()


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, str],
        faults: Sequence[str],
        place: Place,
        command: list[str],
    ) -> None:
        self._settings, self._faults = settings, faults
        self._sources = sources
        self._place = place
        self._command = command
        self._restarts = 0
        self._asked = 0
        self._stopping = asyncio.Event()
        self._envoy: EnvoyProcess | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        pauses, started = jittered(), time.monotonic()
        while True:
            status = await self._one()
            if status is not None:
                return status
            if time.monotonic() - started > _STABLE:
                pauses = jittered()
            await self._pause(next(pauses))
            if self._asked:
                return 1
            self._restarts += 1
            started = time.monotonic()

    async def _one(self) -> int | None:
        """Runs one Envoy from its start to its end. Returns the exit status of `serve`, or None if Envoy crashed."""
        await asyncio.to_thread(written, self._settings, self._place)
        envoy = self._envoy = EnvoyProcess()
        try:
            hello = Hello(self._settings, self._sources, self._place, self._restarts, self._faults)
            await envoy.start(self._command, hello)
            for _ in range(self._asked):
                envoy.ask_to_stop()
            await self._served(envoy)
        finally:
            self._envoy = None
            ended = await asyncio.shield(envoy.end())
        if envoy.failed is not None:
            raise envoy.failed.kind(envoy.failed.text)
        if envoy.ended is not None and (self._asked or envoy.ended.status):
            return envoy.ended.status
        return self._unasked(envoy, ended)

    async def _served(self, envoy: EnvoyProcess) -> None:
        """Returns once Envoy, or the proxy inside it, is done, or was killed because it took too long to end. Raises
        StartError if it takes too long to begin to serve.
        """
        done = asyncio.create_task(envoy.done.wait(), name="envoy's end")
        live = asyncio.create_task(envoy.live.wait(), name="envoy's begin")
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        try:
            await asyncio.wait([done, live], timeout=_UP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if not live.done() and not done.done():
                raise StartError(f"TRANSPORT=envoy: Envoy has not begun to serve after {_UP_WITHIN:g} s")
            await asyncio.wait([done, stopping], return_when=asyncio.FIRST_COMPLETED)
            late = self._settings.drain_time + _DRAINED_LATE
            await asyncio.wait([done], timeout=late)
            if not done.done():
                _log.error("Envoy hangs and is killed", extra={"seconds": late})
                await envoy.kill()
        finally:
            for task in (done, live, stopping):
                task.cancel()

    def _unasked(self, envoy: EnvoyProcess, status: int) -> int | None:
        if not envoy.live.is_set():
            raise StartError(explained(envoy.last, self._settings))
        fields = {"last_words": list(envoy.last), "restarts": self._restarts}
        if status < 0 and envoy.ended is None and not self._asked:
            _log.error("Envoy crashed with %s and is being restarted", _name(-status), extra=fields)
            return None
        how = f" with {_name(-status)}" if status < 0 and envoy.ended is None else f" with status {max(status, 0)}"
        _log.error("Envoy exited unexpectedly%s, so the proxy ends too", how, extra=fields)
        return 1

    def _signalled(self) -> None:
        self._asked += 1
        self._stopping.set()
        if self._envoy is not None:
            self._envoy.ask_to_stop()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
