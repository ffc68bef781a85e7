"""The composition root of `serve`: builds the parts of the proxy, and starts, drains and stops them in order.

Start:  core (Redis, upstream) -> events -> transport -> probes, admin, which are loaded last. The start waits for Redis
        and RabbitMQ for at most half a second, so that a proxy with working dependencies caches from its first call.
Drain:  after SIGTERM the proxy is not ready any more, but serves calls until it is idle; then events, invalidations and
        connections end.
"""

import asyncio
import logging
import signal
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from proxy import __version__, program_pages, starting
from proxy.consuming import Consuming
from proxy.core import Core
from proxy.errors import StartError
from proxy.policy.watched import Watched
from proxy.reloading import Reloading
from proxy.served import Served
from proxy.service_states import ServiceStates
from proxy.settings import otel, otel_rules
from proxy.settings.config import Settings
from proxy.settings.tolerance import PolicyFault
from proxy.telemetry.dependency import Dependency, State
from proxy.telemetry.descriptors import Descriptors
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.settings_complaints import SettingsComplaints
from proxy.tls import Tls
from proxy.transport.admission import Admission
from proxy.transport.limits import Limits
from proxy.transport.server import Listener

if TYPE_CHECKING:
    from proxy.operating import HttpServers
    from proxy.telemetry.span_export import SpanExport

log = logging.getLogger(__name__)

_SETTLING = 0.5
_SETTLED_EVERY = 0.005
_IDLE_BEFORE_STOP = 2.0


class Transport(Protocol):
    """Accepts callers' calls and hands them to the core."""

    async def start(self) -> int:
        """Begins to serve callers and returns the port; StartError: the address cannot be bound."""

    async def supervise(self) -> None:
        """Runs the transport's background work, until cancelled."""

    async def take_up(self, served: Served) -> Iterable[str]:
        """Serves a new policy from now on. Returns what of it takes effect only at the next start."""

    async def drain(self, idle: float, *, at_most: float) -> None:
        """Tells callers to leave and serves them until no call came or ended for `idle` seconds, or for at most
        `at_most` seconds.
        """

    async def stop(self) -> None:
        """Ends at once, and cuts calls in progress."""

    async def statistics(self) -> bytes:
        """The transport's own metrics, as Prometheus text; empty if it has none."""


MakeTransport = Callable[[Settings, Core, Metrics], Transport]


class Stop:
    """The request to end. The first one drains, a second one cuts calls in progress."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.cut = asyncio.Event()

    def ask(self) -> None:
        """Asks for the end, for the first time or again."""
        if self.drain.is_set():
            self.cut.set()
        self.drain.set()


def listener(settings: Settings, core: Core, metrics: Metrics) -> Transport:
    """Makes the transport of TRANSPORT=grpcio."""
    return Listener(
        settings.listen_addr,
        core.served.routes,
        core.upstreams,
        metrics,
        Admission(settings.max_concurrent_calls),
        limits=Limits.of(settings, core.policy.large),
        call_timeout=settings.call_timeout,
        tls=core.tls.listen,
        hits=core.hits,
        described=core.policy.described,
    )


async def run(settings: Settings, *, sources: Mapping[str, str], faults: Sequence[str] = ()) -> int:
    """Serves with grpc.aio until SIGTERM or SIGINT. For all else see `run_with`."""
    stop, loop = Stop(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    return await run_with(settings, sources=sources, make_transport=listener, stop=stop, faults=faults)


async def run_with(
    settings: Settings,
    *,
    sources: Mapping[str, str],
    make_transport: MakeTransport,
    stop: Stop,
    faults: Sequence[str] = (),
    files: Watched | None = None,
) -> int:
    """Serves until `stop` is asked for, drains, and returns the exit status: 0 after a drain, 1 after a part failed.

    StartError: an address cannot be bound. SettingError: a file cannot be used, or an OTEL_ variable is not understood.
    `sources` has where each setting came from, for the log. `faults` has one line for each setting that was wrong and
    for which `settings` has another value. `files`, if given, has read the policy already.
    """
    app = _App(settings, sources, make_transport, stop, faults, files)
    given = {name: source for name, source in sources.items() if source != "default"}
    log.info("starting", extra={"settings": given})
    return await app.run()


class _App:
    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, str],
        make_transport: MakeTransport,
        stop: Stop,
        faults: Sequence[str],
        files: Watched | None,
    ) -> None:
        self._settings, self._sources = settings, sources
        tls = Tls.load(settings)
        self._spans = _tracing()
        self._metrics = Metrics()
        self._complaints = SettingsComplaints(faults, self._metrics.bad_settings.set)
        self._core = Core.build(settings, self._metrics, tls, files)
        self._unready: str | None = "starting"
        self._stop_asked = stop
        self._transport = make_transport(settings, self._core, self._metrics)
        self._consuming = Consuming(settings, self._core, self._metrics)
        self._upstream = Dependency("upstream", lambda up: self._metrics.dependency("upstream", up=up), time.monotonic)
        self._services = ServiceStates(self._core, self._metrics.upstream_answers, lambda: self._upstream.state)
        self._http: HttpServers | None = None

    def _make_http(self) -> "HttpServers":
        """Takes long: runs in a thread while callers are served already."""
        with starting.without_authorities():
            from proxy.admin.conditions import Conditions  # noqa: PLC0415 -- as the next line
            from proxy.operating import HttpServers  # noqa: PLC0415 -- see the docstring of the module

        dependencies: dict[str, Callable[[], State]] = {"upstream": self._services.default}
        if self._core.redis is not None:
            dependencies["redis"] = self._core.redis_state
        states, depths = ChainMap(dependencies, self._consuming.states), self._consuming.depths
        conditions = Conditions(states, lambda: self._unready, self._services, depths, lambda: self._complaints.remark)
        parts = (self._settings, self._sources, self._core, self._metrics)
        return HttpServers(*parts, conditions, self._transport.statistics)

    async def run(self) -> int:
        """Starts, serves, drains and stops; returns the exit status."""
        background = [asyncio.create_task(self._core.run(), name="core")]
        failed: asyncio.Task[None] | None = None
        try:
            await self._start(background)
            stopping = asyncio.create_task(self._stop_asked.drain.wait(), name="stop signal")
            await asyncio.wait([*background, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            failed = next((task for task in background if task.done()), None)
            if failed is not None:
                log.error("%s ended unexpectedly", failed.get_name(), exc_info=failed.exception())
            self._unready = "draining"
            await self._drain()
            return 0 if failed is None else 1
        finally:
            await self._stop(background)
            log.log(logging.INFO if failed is None else logging.ERROR, "stopped%s", _because(failed))

    async def _start(self, background: list[asyncio.Task[None]]) -> None:
        if self._complaints.faults:
            background.append(asyncio.create_task(self._complaints.run(), name="complaints"))
        background.append(asyncio.create_task(Descriptors().run(), name="descriptors"))
        background.append(asyncio.create_task(self._core.upstream.watch(self._upstream.changed), name="upstream"))
        self._consuming.start()
        await self._settle()
        port = await self._transport.start()
        background.append(asyncio.create_task(self._transport.supervise(), name="transport"))
        if self._settings.policy:
            parts = (self._transport.take_up, self._consuming.take_up, self._mended)
            reloading = Reloading(self._settings, self._core, self._metrics.policy_reloads, parts)
            background.append(asyncio.create_task(reloading.run(), name="policy"))
        if self._settings.probe_addr or self._settings.admin_addr:
            self._http = await asyncio.to_thread(self._make_http)
        ports = {"port": port, "probe_port": await self._start_probes(), "admin_port": await self._start_admin()}
        starting.leave_alone_what_stays()
        await asyncio.to_thread(program_pages.give_back)
        self._unready = None
        log.info("serving", extra={"listen": self._settings.listen_addr, **ports})

    async def _mended(self, _: Served) -> Iterable[str]:
        """A policy takes effect: what was wrong with the policy at the start is mended."""
        self._complaints.mended(PolicyFault)
        return ()

    async def _start_probes(self) -> int | None:
        probes = self._http.probes if self._http is not None else None
        return await probes.start() if probes is not None else None

    async def _start_admin(self) -> int | None:
        """If its port is taken, perhaps by another container of the pod, the proxy serves calls without it."""
        admin = self._http.admin if self._http is not None else None
        try:
            return await admin.start() if admin is not None else None
        except StartError as error:
            log.error("going on without the admin server: %s", error)  # noqa: TRY400 -- a traceback would add nothing
            return None

    async def _settle(self) -> None:
        """Waits at most half a second until Redis and RabbitMQ are connected and a first start's flush is done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING):
                await _until(lambda: self._core.redis is None or self._core.redis.known)
                await _until(lambda: self._consuming.settled)

    async def _drain(self) -> None:
        log.info("draining", extra={"at_most_seconds": self._settings.drain_time})
        draining = asyncio.create_task(
            self._transport.drain(_IDLE_BEFORE_STOP, at_most=self._settings.drain_time), name="drain"
        )
        at_once = asyncio.create_task(self._stop_asked.cut.wait(), name="second signal")
        await asyncio.wait([draining, at_once], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, at_once):
            task.cancel()
        await asyncio.gather(draining, at_once, return_exceptions=True)

    async def _stop(self, background: list[asyncio.Task[None]]) -> None:
        """Ends calls first, then events, then what they left to do, then the connections."""
        await self._transport.stop()
        await self._consuming.stop()
        await self._core.close()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        if self._http is not None:
            await self._http.stop()
        if self._spans is not None:
            await self._spans.stop()


def _because(failed: asyncio.Task[None] | None) -> str:
    """What the last log line adds about a failure; "" after a drain."""
    return "" if failed is None else f": {failed.get_name()} ended unexpectedly ({failed.exception()!r})"


def _tracing() -> "SpanExport | None":
    """Starts tracing if the environment asks for it; only then is OpenTelemetry's SDK loaded."""
    if not otel.traced():
        for fault in otel_rules.wrong():
            log.warning("%s; nothing is traced, so it has no effect", fault)
        return None
    from proxy.telemetry import span_export  # noqa: PLC0415

    return span_export.start(__version__)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- only for half a second at the start; no event tells of these states
        await asyncio.sleep(_SETTLED_EVERY)
