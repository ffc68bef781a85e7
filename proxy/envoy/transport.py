"""`EnvoyTransport`: the transport, as seen from inside Envoy.

Envoy's own threads accept calls and forward most of them; calls for the core go to `Calls`, in this event loop. A small
grpc.aio server on a Unix socket answers health and reflection, so that they are the same on both transports.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import grpc.aio

from proxy.core import Core
from proxy.envoy.admin import EnvoyAdmin, Forwarded
from proxy.envoy.bootstrap import Place
from proxy.envoy.calls import Calls
from proxy.envoy.config_update import ConfigUpdate
from proxy.envoy.departures import Departures
from proxy.envoy.ended_calls import too_many_calls
from proxy.envoy.forwarded import ForwardedCalls
from proxy.envoy.outcomes import Outcomes
from proxy.envoy.services import placed_by
from proxy.served import Served
from proxy.settings.config import Settings
from proxy.telemetry import span_names
from proxy.telemetry.callers import Use
from proxy.telemetry.metrics import Metrics
from proxy.transport.admission import Admission
from proxy.transport.connections import TOO_MANY
from proxy.transport.draining import last_part
from proxy.transport.introspection import Health, Reflection
from proxy.transport.layers import Layers
from proxy.transport.limits import Limits

_log = logging.getLogger(__name__)

_LOOK_EVERY = 0.1
_OUTCOMES_EVERY = 1.0
_LAST_CALLS = 0.5
"""Seconds for calls that arrive on connections that were open when the port closed."""


class EnvoyTransport:
    """Created inside the event loop of Envoy's interpreter.

    `accepting` is set when Envoy may accept callers, and `live` is called once it does.
    """

    def __init__(
        self,
        settings: Settings,
        core: Core,
        metrics: Metrics,
        place: Place,
        *,
        limits: Limits,
        accepting: asyncio.Event,
        live: Callable[[], None],
    ) -> None:
        self._admission = Admission(settings.max_concurrent_calls)
        self._layers = Layers(metrics, self._admission, limits)
        self._departures = Departures(time.monotonic)
        self.calls = Calls(
            core.routes, self._layers, self._departures, settings.call_timeout, limits, (core.hits, self._admission)
        )
        self._accepting = accepting
        self._live = live
        self._listen = settings.listen_addr
        self._admin = EnvoyAdmin(place.admin)
        self._settings = settings
        self._config_update = ConfigUpdate(settings, place, self._admin, placed_by(core.policy, settings))
        self._forwarded = ForwardedCalls(metrics)
        self._callers = metrics.callers
        self._seen = Outcomes()
        self._told = {
            "unread": "Envoy reset calls whose headers were malformed or larger than twice MAX_METADATA_BYTES",
            "MAX_CONNECTIONS": TOO_MANY % settings.max_connections,
        }
        """What is logged for calls that Envoy refuses without telling the caller why, by the limit."""
        self._too_many = too_many_calls(settings.max_concurrent_calls)
        self._callers.ended = lambda: self._seen.ended
        self._callers.limited("MAX_CONCURRENT_CALLS", lambda: Use(self._seen.forwarded, settings.max_concurrent_calls))
        self._callers.limited("MAX_CONNECTIONS", lambda: Use(self._seen.connections, settings.max_connections))
        self._own = place.own
        self._reflection, self._health = Reflection(core.policy.described), Health(core.policy.described)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Lets Envoy accept callers, and returns the port once it does."""
        self._server = grpc.aio.server(handlers=[await self._health.handler(), *self._reflection.handlers()])
        self._server.add_insecure_port(f"unix:{self._own}")
        await self._server.start()
        self._accepting.set()
        port = await self._admin.listening()
        host, _, _ = self._listen.rpartition(":")
        self._layers.place = span_names.place(f"{host}:{port}")
        self._live()
        return port

    async def supervise(self) -> None:
        """Watches for callers that leave, and for calls that Envoy answers itself, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._departures.run(), name="departures")
            tasks.create_task(self._watch_outcomes(), name="outcomes")

    async def _watch_outcomes(self) -> None:
        while True:
            await self._look_at_outcomes()
            await asyncio.sleep(_OUTCOMES_EVERY)

    async def _look_at_outcomes(self) -> None:
        try:
            now = await self._admin.outcomes()
        except OSError:  # Envoy hangs or ends, which `serve` notices
            return
        before, self._seen = self._seen, now
        for limit, count in (now.refused - before.refused).items():
            self._callers.refused(limit, self._told.get(limit, self._too_many), count)

    async def take_up(self, served: Served) -> Iterable[str]:
        """Uses another policy for calls that begin from now on. The core comes first, so that it knows all methods that
        Envoy sends to it. Returns what takes effect only at the next start.
        """
        self.calls.take_up(served)
        self._reflection.take_up(served.described)
        await self._health.take_up(served.described)
        return await self._config_update.take_up(placed_by(served.policy, self._settings))

    async def drain(self, idle: float, *, at_most: float) -> None:
        """Reports NOT_SERVING at once and asks callers to go elsewhere, but serves them until no call has come or gone
        for `idle` seconds, or for most of `at_most`. Then it accepts no new connections.

        After `at_most` seconds in total, it returns even if calls are still in progress; they are cut off.
        """
        await self._health.draining()
        try:
            async with asyncio.timeout(at_most):
                await self._admin.ask_callers_to_leave()
                with suppress(TimeoutError):
                    async with asyncio.timeout(at_most - last_part(at_most)):
                        await self._idle(idle)
                await self._admin.close_listeners()
                await self._idle(_LAST_CALLS)
        except TimeoutError:
            count = self._admission.in_progress + (await self._admin.forwarded()).active
            _log.warning("calls still in progress after %g s (DRAIN_TIME) are cut: %d", at_most, count)

    async def stop(self) -> None:
        """Ends health and reflection. `serve` ends Envoy itself, once everything here is done."""
        if self._server is not None:
            await self._server.stop(None)
        await self._admin.close()

    async def statistics(self) -> bytes:
        """Envoy's statistics under Envoy's names; empty while it does not answer. Those of forwarded calls are added to
        the proxy's own metrics instead.
        """
        await self._look_at_outcomes()
        try:
            return self._forwarded.tell(await self._admin.statistics()).encode()
        except OSError:
            return b""

    async def _idle(self, seconds: float) -> None:
        """Returns once no call, of the core or forwarded, has been in progress or arrived for so long."""
        since, seen = time.monotonic(), Forwarded(-1, 0)
        while time.monotonic() - max(since, self._admission.last) < seconds:
            now = await self._admin.forwarded()
            if now.active or self._admission.in_progress or now != seen:
                since, seen = time.monotonic(), now
            await asyncio.sleep(_LOOK_EVERY)
