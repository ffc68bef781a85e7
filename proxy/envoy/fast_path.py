"""`FastPath`: answers a hit in one function inside Envoy; `proxy.transport.fast_path` explains the steps.

It does not check whether the caller has left: Redis has at most 50 ms, and Envoy enforces deadlines.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.calls.call import Metadata
from proxy.envoy import framing
from proxy.envoy.departures import Receive
from proxy.telemetry import tracing
from proxy.transport.admission import Admission
from proxy.transport.fast_path import FEW_ENTRIES, FRESH, Hits
from proxy.transport.layers import Progress

_log = logging.getLogger(__name__)

Event = dict[str, Any]
Send = Callable[[Event], Awaitable[None]]
SlowPath = Callable[[Mapping[str, Any], Receive, Send, Progress | None], Awaitable[None]]

HEADERS: Event = {"type": "http.response.start", "status": 200, "headers": framing.initial(()), "trailers": True}
AT_ONCE = 64 << 10
"""Bytes of an answer that are handed to Envoy even if the caller reads nothing."""
_HIT = [(b"grpc-status", b"0"), (b"x-cache", b"hit")]


class FastPath:
    """For the calls of one cacheable method."""

    def __init__(self, hits: Hits, admission: Admission, slow_path: SlowPath) -> None:
        self._hits = hits
        self._matters = frozenset(name.encode() for name in (FRESH, "grpc-encoding", *hits.vary))
        self._admission = admission
        self._slow_path = slow_path

    async def serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one call."""
        caller = self._caller(scope["headers"])
        if caller is None or not self._admission.enter_common():
            await self._slow_path(scope, receive, send, None)
            return
        progress = Progress(time.perf_counter())
        try:
            if not await self._answered(progress, receive, send, caller):
                await self._slow_path(scope, receive, send, progress)
        except OSError:  # pyvoy raises it when the caller is gone
            self._hits.left(progress.started)
        finally:
            self._admission.leave()

    async def _answered(self, progress: Progress, receive: Receive, send: Send, caller: Metadata) -> bool:
        """Answers the call if it is a hit, and returns whether it was."""
        progress.body = event = await receive()
        try:
            look = self._hits.begin(event["body"][framing.PREFIX :], caller) if framing.is_whole(event) else None
            if look is None:
                return False
            progress.looked = look
            try:
                await look.reply
            except Exception:  # noqa: BLE001, S110 -- whatever it was, `ended` judges it
                pass
            finally:
                self._hits.ended(look)
            found = look.found
        except Exception:  # noqa: BLE001 -- it is logged; the slow path answers
            _log.exception(
                "%s failed on the fast path of a hit; the call continues on the slow path", self._hits.method
            )
            return False
        if found is None or not found.answers(AT_ONCE):
            return False
        await send(HEADERS)
        await send({"type": "http.response.body", "body": framing.framed(found.entry.body)})
        await send({"type": "http.response.trailers", "headers": [*_HIT, (b"age", b"%d" % found.age)]})
        self._hits.answered(look, progress.started)
        return True

    def _caller(self, headers: list[tuple[bytes, bytes]]) -> Metadata | None:
        """The metadata that may tell this caller from others; None if the call has to take the slow path."""
        if len(headers) > FEW_ENTRIES:
            return None
        for name, _ in headers:
            if name in self._matters or name[-4:] == b"-bin":
                return self._varied(headers)
        return () if tracing.silent(()) else self._varied(headers)

    def _varied(self, headers: list[tuple[bytes, bytes]]) -> Metadata | None:
        try:
            head = framing.head(headers)
        except ValueError:
            return None
        if head.encoding or not tracing.silent(head.metadata) or any(name == FRESH for name, _ in head.metadata):
            return None
        return head.metadata
