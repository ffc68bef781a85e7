"""`Probes`: the HTTP server on `PROBE_ADDR` for Kubernetes and Prometheus. It can change nothing.

    /healthz   200 whenever it is asked: that it answers shows that the event loop turns
    /readyz    200 while callers may be sent here, else 503 and why. Never because a dependency is away: a sidecar's
               readiness counts for its pod, and a Redis outage must not take the app out of its Service
    /metrics   the registry, as Prometheus text or OpenMetrics, as the scraper asks

It listens on all interfaces by default, so what strangers can take of it is bounded: header sizes, and connections, of
which the oldest goes when a new one is one too many (refusing the new one would let idle ones keep the kubelet out).
"""

import asyncio
import os
from collections.abc import Callable

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from proxy.errors import StartError
from proxy.metrics import Metrics
from proxy.setting_types import split_host_port

_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 75.0
_STOP_SECONDS = 1.0
_HEADERS = 64
_HEADER_BYTES = 4096
_READING = ("GET", "HEAD")


class Probes:
    """`ready()` says in one line why no callers should come, or None."""

    def __init__(self, addr: str, ready: Callable[[], str | None], metrics: Metrics) -> None:
        self._addr = addr
        self._ready = ready
        self._metrics = metrics
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._pages: dict[str, Callable[[web.BaseRequest], web.Response]] = {
            "/healthz": lambda _: _line(200, "ok"),
            "/readyz": self._readyz,
            "/metrics": self._show_metrics,
        }

    async def start(self) -> int:
        """Listens; the port, which counts where the address said 0. StartError when the address cannot be bound."""
        http = web.Server(
            self._answer,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            max_headers=_HEADERS,
            max_field_size=_HEADER_BYTES,
            lingering_time=0.0,
        )
        host, port = split_host_port(self._addr)
        try:
            listener = await asyncio.get_running_loop().create_server(lambda: _admit(http), host, port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise StartError(
                f"PROBE_ADDR: cannot listen on {self._addr!r}: {why}; accepted: an address that is free"
            ) from error
        self._http, self._listener = http, listener
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the listener and every connection, answers under way included after a second."""
        if self._listener is None or self._http is None:
            return
        self._listener.close()
        await self._http.shutdown(_STOP_SECONDS)
        await self._listener.wait_closed()
        self._listener = self._http = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path)
        if page is None:
            response = _line(404, "not found; there are /healthz, /readyz and /metrics")
        elif request.method not in _READING:
            response = _line(405, "read only")
            response.headers[hdrs.ALLOW] = ", ".join(_READING)
        else:
            response = page(request)
        response.headers[hdrs.SERVER] = "media-cache-proxy"  # aiohttp's own names its and Python's versions
        return response

    def _readyz(self, _: web.BaseRequest) -> web.Response:
        reason = self._ready()
        return _line(200, "ok") if reason is None else _line(503, reason)

    def _show_metrics(self, request: web.BaseRequest) -> web.Response:
        accepted = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
        try:
            encode, content_type = choose_encoder(accepted)
        except TypeError:  # the library compares a version that is no number with numbers
            encode, content_type = choose_encoder("")
        return web.Response(body=encode(self._metrics.registry), headers={hdrs.CONTENT_TYPE: content_type})


def _admit(http: web.Server) -> web.RequestHandler:
    """Serves one connection more; the oldest ones beyond the limit are cut, whatever they wait for."""
    connections = http.connections
    for oldest in connections[: max(0, len(connections) + 1 - _MOST_CONNECTIONS)]:
        if isinstance(oldest.transport, asyncio.WriteTransport):
            oldest.transport.abort()
    return http()


def _line(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
