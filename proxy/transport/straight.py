"""The short path of a hit: what both transports share, and grpc.aio's, in one function.

It passes the same layers as the long path (`layers`), in the same order: limits, admission, the request, the answer,
the count. Memory does not matter, since remembered requests are small. A call that is not a hit continues on the long
path as `Begun`: it has been admitted and read, and Redis has been asked.
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
from proxy.transport.layers import Begun
from proxy.transport.patience import Patience
from proxy.transport.requests import Context, read_message

_log = logging.getLogger(__name__)

FEW_ENTRIES = 16
"""Of metadata: so few are within every limit."""
FRESH = "cache-control"
"""Who sends it takes the long way."""


class Hits(Protocol):
    """The cache, as far as the straight way goes; see `proxy.caching.hits`."""

    method: str
    vary: frozenset[str]

    def begin(self, body: bytes, metadata: Metadata) -> Look | None: ...
    def ended(self, look: Look, /) -> Look: ...
    def answered(self, look: Look, started: float) -> None: ...
    def left(self, started: float) -> None: ...


class LongWay(Protocol):
    """Answers a call that is no hit, as far as it has got."""

    def __call__(
        self, metadata: Metadata, requests: object, context: Context, begun: Begun | None = None
    ) -> Awaitable[bytes | None]: ...


class Straight:
    """Reads of one method through grpc.aio."""

    def __init__(
        self, hits: Hits, admission: Admission, unread: Callable[[], None], patience: Patience | None, long_way: LongWay
    ) -> None:
        self._hits = hits
        self._matters = hits.vary | {FRESH}
        self._admission = admission
        self._unread = unread
        self._patience = patience
        self._long_way = long_way

    async def serve(self, metadata: Metadata, requests: object, context: Context) -> bytes | None:
        """Answers one call; `arrived.Answer` has the arguments."""
        caller = self._caller(metadata)
        if caller is None or not self._admission.enter_common():
            return await self._long_way(metadata, requests, context)
        begun = Begun(time.perf_counter())
        context.add_done_callback(self._left)  # type: ignore[arg-type]  # the stub names a class for a function
        try:
            patience = self._patience if context.time_remaining() is None else None
            begun.body = body = await read_message(context, self._unread, patience)
            look = self._hits.begin(body, caller) if type(body) is bytes else None
            if look is not None:
                begun.looked = look
                try:
                    await look.reply
                except Exception:  # noqa: BLE001, S110 -- whatever it was, `ended` judges it
                    pass
                finally:
                    self._hits.ended(look)
                found = look.found
                if found is not None and found.answers(LARGE):
                    context.set_trailing_metadata((("x-cache", "hit"), ("age", str(found.age))))
                    self._hits.answered(look, begun.started)
                    return found.entry.body
        except asyncio.CancelledError:
            self._hits.left(begun.started)
            raise
        except Exception:  # noqa: BLE001 -- it is logged; the long way answers
            _log.exception(
                "%s failed on the fast path of a hit; the call goes on by the general one", self._hits.method
            )
        return await self._long_way(metadata, requests, context, begun)

    def _caller(self, metadata: Metadata) -> Metadata | None:
        """What tells this caller apart; None: it takes the long way."""
        if len(metadata) > FEW_ENTRIES or not tracing.silent(metadata):
            return None
        for name, _ in metadata:
            if name in self._matters:
                return None if any(name == FRESH for name, _ in metadata) else metadata
        return ()

    def _left(self, _context: Context) -> None:
        """The answer was taken, or nobody is left to take it."""
        self._admission.leave()
