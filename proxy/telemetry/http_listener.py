"""`HttpListener`: an HTTP server on one address, which limits what strangers can use.

Header sizes, bodies and the number of connections are limited. When there are too many connections, the oldest is
closed: if the new one were refused, idle connections could lock everybody out.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import hdrs, web

from proxy.errors import StartError
from proxy.settings.setting_types import split_host_port
from proxy.telemetry.listening import listening_socket

LARGEST_BODY = 16 << 10
"""Maximum size of a request's body in bytes; reading a longer one raises aiohttp's HTTPRequestEntityTooLarge."""

_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 75.0
_STOP_SECONDS = 1.0
_HEADERS = 64
_HEADER_BYTES = 4096

Answer = Callable[[web.BaseRequest], Awaitable[web.Response]]


class HttpListener:
    """`setting` is the variable that `addr` (host:port) comes from, for the message when the start fails."""

    def __init__(self, setting: str, addr: str, answer: Answer) -> None:
        self._setting = setting
        self._addr = addr
        self._answer = answer
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Begins to listen and returns the port, which the system has chosen if the address says 0.

        StartError: the address cannot be bound.
        """
        http = web.Server(
            self._named,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            max_headers=_HEADERS,
            max_field_size=_HEADER_BYTES,
            lingering_time=0.0,
            request_factory=_bounded,
        )
        host, port = split_host_port(self._addr)
        try:
            bound_to = listening_socket(host, port)
            listener = await asyncio.get_running_loop().create_server(lambda: _admit(http), sock=bound_to)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise StartError(
                f"{self._setting}: cannot listen on {self._addr!r}: {why}; accepted: an address that is free"
            ) from error
        self._http, self._listener = http, listener
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the listener and every connection; answers in progress have one second to finish."""
        if self._listener is None or self._http is None:
            return
        self._listener.close()
        await self._http.shutdown(_STOP_SECONDS)
        await self._listener.wait_closed()
        self._listener = self._http = None

    async def _named(self, request: web.BaseRequest) -> web.Response:
        response = await self._answer(request)
        response.headers[hdrs.SERVER] = "media-cache-proxy"  # aiohttp's own names its and Python's versions
        return response


def _admit(http: web.Server) -> web.RequestHandler:
    """The handler of one more connection; the oldest connections beyond the limit are cut, whatever they wait for."""
    connections = http.connections
    for oldest in connections[: max(0, len(connections) + 1 - _MOST_CONNECTIONS)]:
        if oldest.transport is not None:
            # An isinstance check would fail: uvloop's transport does not inherit from asyncio's classes.
            cast("asyncio.WriteTransport", oldest.transport).abort()
    return http()


def _bounded(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    """Does what aiohttp's own factory does, with another limit for bodies."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)


def line(status: int, text: str) -> web.Response:
    """A response of one line of plain text."""
    return web.Response(status=status, text=f"{text}\n")
