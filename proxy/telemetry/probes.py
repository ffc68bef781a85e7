"""`Probes`: the HTTP server on `PROBE_ADDR` for Kubernetes and Prometheus. It is read only.

    /healthz   always 200: an answer shows that the event loop is running
    /readyz    200 while callers may be sent here, else 503 and the reason. Dependencies never count: a sidecar's
               readiness is part of its pod's, and a Redis outage must not take the app out of its Service
    /metrics   the metrics, in Prometheus' text format or in OpenMetrics if the scraper asks for it. If the transport
               has statistics of its own, always in the text format, since these come in it

It listens on all interfaces by default; `http_listener` limits what strangers can use.
"""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from proxy.telemetry.http_listener import HttpListener, line
from proxy.telemetry.metrics import Metrics

_READING = ("GET", "HEAD")


async def _none() -> bytes:
    return b""


class Probes:
    """`ready()` returns one line that says why callers should not be sent here, or None. The text of `statistics()` is
    appended to the metrics, and that of `remark()` to the answer of a proxy that is ready.
    """

    def __init__(
        self,
        addr: str,
        ready: Callable[[], str | None],
        metrics: Metrics,
        statistics: Callable[[], Awaitable[bytes]] = _none,
        *,
        remark: Callable[[], str] = str,
    ) -> None:
        self._remark = remark
        self._ready = ready
        self._metrics = metrics
        self._statistics = statistics
        self._listener = HttpListener("PROBE_ADDR", addr, self._answer)
        self._pages: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._show_metrics,
        }

    async def start(self) -> int:
        """Begins to listen and returns the port, which the system has chosen if the address says 0.

        StartError: the address cannot be bound.
        """
        return await self._listener.start()

    async def stop(self) -> None:
        """Closes the listener and every connection; answers in progress have one second to finish."""
        await self._listener.stop()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path)
        if page is None:
            return line(404, "not found; there are /healthz, /readyz and /metrics")
        if request.method not in _READING:
            response = line(405, "read only")
            response.headers[hdrs.ALLOW] = ", ".join(_READING)
            return response
        return await page(request)

    async def _healthz(self, _: web.BaseRequest) -> web.Response:
        return line(200, "ok")

    async def _readyz(self, _: web.BaseRequest) -> web.Response:
        reason = self._ready()
        if reason is not None:
            return line(503, reason)
        remark = self._remark()
        return line(200, f"ok; {remark}" if remark else "ok")

    async def _show_metrics(self, request: web.BaseRequest) -> web.Response:
        statistics = await self._statistics()
        accepted = "" if statistics else ",".join(request.headers.getall(hdrs.ACCEPT, ()))
        try:
            encode, content_type = choose_encoder(accepted)
        except TypeError:  # the library compares a version that is not a number with numbers
            encode, content_type = choose_encoder("")
        body = encode(self._metrics.registry) + statistics
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
