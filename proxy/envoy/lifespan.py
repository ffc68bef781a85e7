"""`Lifespan`: runs the whole proxy in the event loop inside Envoy, from Envoy's start to its end.

Envoy opens its listener once the application reports its start as complete (ASGI's lifespan protocol), and only then
can Envoy report that it serves. So the proxy runs as a task, and the start is reported when everything else is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from proxy import app as composition
from proxy.core import Core
from proxy.envoy.control import LOG, SOCKET, Ended, Failed, Hello, Live, kind_of
from proxy.envoy.restarts import restarts
from proxy.envoy.transport import EnvoyTransport
from proxy.errors import StartError
from proxy.policy.watched import Watched
from proxy.settings.config import Settings
from proxy.telemetry import log, stderr_records, tracing
from proxy.telemetry.metrics import Metrics
from proxy.transport.limits import Limits

_logger = logging.getLogger(__name__)

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class Lifespan:
    """The proxy of this process. `control` is its end of the socket pair to `serve`."""

    def __init__(self, control: "Connection[Any, Any]") -> None:
        self._control = control
        self._accepting = asyncio.Event()
        self._stop = composition.Stop()
        self._failure = ""
        self._live = False
        self.transport: EnvoyTransport | None = None

    @classmethod
    def of_process(cls) -> Self:
        """Connected to the `serve` that started this process."""
        return cls(Connection(SOCKET))

    async def run(self, receive: Receive, send: Send) -> None:
        """Serves until Envoy ends, or until `serve` asks to stop; speaks ASGI's lifespan protocol."""
        await receive()
        hello: Hello = self._control.recv()
        log.setup(hello.settings.log_level, hello.settings.log_format, fd=LOG, trace_ids=tracing.ids)
        stderr_records.hook()
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._told)
        running = asyncio.create_task(self._run(hello), name="proxy")
        accepting = asyncio.create_task(self._accepting.wait(), name="accepting")
        await asyncio.wait([running, accepting], return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if running.done():
            await send({"type": "lifespan.startup.failed", "message": self._failure})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for _ in range(2):  # twice, because without Envoy there is nothing left to drain
            self._stop.ask()
        if not self._live:
            running.cancel()  # it still waits for Envoy to serve, which will not happen
        await asyncio.wait([running])
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self, hello: Hello) -> None:
        def transport(settings: Settings, core: Core, metrics: Metrics) -> EnvoyTransport:
            restarts(metrics.registry).inc(hello.restarts)
            self.transport = EnvoyTransport(
                settings,
                core,
                metrics,
                hello.place,
                limits=Limits.of(settings, core.policy.large),
                accepting=self._accepting,
                live=self._begun,
            )
            return self.transport

        ending: Failed | Ended
        try:
            status = await composition.run_with(
                hello.settings,
                sources=hello.sources,
                make_transport=transport,
                stop=self._stop,
                faults=hello.faults,
                files=Watched.saved(hello.place.policy) if hello.settings.policy else None,
            )
        except StartError as error:
            self._failure = str(error)
            ending = Failed(self._failure, kind_of(error))
        except Exception:
            _logger.exception("unexpected failure; the proxy ends")
            ending = Ended(1)
        else:
            ending = Ended(status)
        log.end()  # before `serve` says why it ends
        self._tell(ending)

    def _begun(self) -> None:
        self._live = True
        self._tell(Live())

    def _tell(self, message: object) -> None:
        try:
            self._control.send(message)
        except OSError:
            _logger.warning("serve is gone and did not receive: %s", message)

    def _told(self) -> None:
        try:
            self._control.recv()
        except (EOFError, OSError):  # `serve` is gone, and the kernel kills this process too
            asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._stop.ask()
