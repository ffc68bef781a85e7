"""`FastPath`: answers a hit in one function, with grpc.aio; and what the fast paths of both transports share.

A call passes the same layers as on the slow path (`layers`), in the same order: limits, admission, request, answer,
count. The memory layer is left out, since remembered requests are small. A call that is not a hit continues on the slow
path with its `Progress`: it has been admitted, its request has been read, and Redis has been asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from proxy.calls.call import Metadata
from proxy.store.redis_reads import Look
from proxy.telemetry import tracing
from proxy.transport.admission import Admission
from proxy.transport.large_messages import LARGE
from proxy.transport.layers import Progress
from proxy.transport.read_timeout import ReadTimeout
from proxy.transport.requests import Context, read_message

_log = logging.getLogger(__name__)

FEW_ENTRIES = 16
"""Metadata with at most this many entries is within every limit."""
FRESH = "cache-control"
"""A call with this metadata takes the slow path."""


class Hits(Protocol):
    """What the fast path needs of the cache; see `proxy.caching.hits`."""

    method: str
    vary: frozenset[str]

    def begin(self, body: bytes, metadata: Metadata) -> Look | None: ...
    def ended(self, look: Look, /) -> Look: ...
    def answered(self, look: Look, started: float) -> None: ...
    def left(self, started: float) -> None: ...


class SlowPath(Protocol):
    """Answers any call; with `progress`, one that comes from the fast path."""

    def __call__(
        self, metadata: Metadata, requests: object, context: Context, progress: Progress | None = None
    ) -> Awaitable[bytes | None]: ...


class FastPath:
    """For the calls of one cacheable method."""

    def __init__(
        self,
        hits: Hits,
        admission: Admission,
        unread: Callable[[], None],
        read_timeout: ReadTimeout | None,
        slow_path: SlowPath,
    ) -> None:
        self._hits = hits
        self._matters = hits.vary | {FRESH}
        self._admission = admission
        self._unread = unread
        self._read_timeout = read_timeout
        self._slow_path = slow_path

    async def serve(self, metadata: Metadata, requests: object, context: Context) -> bytes | None:
        """Answers one call; see `call_handler.Answer` for the arguments."""
        caller = self._caller(metadata)
        if caller is None or not self._admission.enter_common():
            return await self._slow_path(metadata, requests, context)
        progress = Progress(time.perf_counter())
        context.add_done_callback(self._left)  # type: ignore[arg-type]  # the stub names a class for a function
        try:
            read_timeout = self._read_timeout if context.time_remaining() is None else None
            progress.body = body = await read_message(context, self._unread, read_timeout)
            look = self._hits.begin(body, caller) if type(body) is bytes else None
            if look is not None:
                progress.looked = look
                try:
                    await look.reply
                except Exception:  # noqa: BLE001, S110 -- `ended` judges it
                    pass
                finally:
                    self._hits.ended(look)
                found = look.found
                if found is not None and found.answers(LARGE):
                    context.set_trailing_metadata((("x-cache", "hit"), ("age", str(found.age))))
                    self._hits.answered(look, progress.started)
                    return found.entry.body
        except asyncio.CancelledError:
            self._hits.left(progress.started)
            raise
        except Exception:  # noqa: BLE001 -- it is logged; the slow path answers
            _log.exception(
                "%s failed on the fast path of a hit; the call continues on the slow path", self._hits.method
            )
        return await self._slow_path(metadata, requests, context, progress)

    def _caller(self, metadata: Metadata) -> Metadata | None:
        """The metadata that may tell this caller from others; None if the call has to take the slow path."""
        if len(metadata) > FEW_ENTRIES or not tracing.silent(metadata):
            return None
        for name, _ in metadata:
            if name in self._matters:
                return None if any(name == FRESH for name, _ in metadata) else metadata
        return ()

    def _left(self, _context: Context) -> None:
        """The caller has taken the answer, or has gone."""
        self._admission.leave()
