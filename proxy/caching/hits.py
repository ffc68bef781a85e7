"""`Hits`: the short path of a hit, which nearly every read takes. Between its two halves a transport awaits Redis.

    begin      with a remembered key, no `cache-control` and a healthy node, Redis is asked; else None: the long path
    ended      what was found, mostly a fresh entry; otherwise the long path continues from it (`Call.looked`)
    answered   the caller has the answer: counted once

The long path is `Methods.read`. Both follow the same rules, those of `Cache` and `redis_reads`.
"""

import time
from typing import Protocol

from grpc import StatusCode

from proxy.caching.cache import Cache, Looked, log_hit
from proxy.calls.call import Metadata
from proxy.store.redis_reads import Look
from proxy.telemetry.popular import Popular


class Observer(Protocol):
    """Who counts."""

    @property
    def popular(self) -> Popular: ...
    def hit(self, method: str, seconds: float) -> None: ...
    def server_call(self, method: str, code: StatusCode, seconds: float) -> None: ...


class Hits:
    """For one method whose answers are stored."""

    def __init__(self, method: str, cache: Cache, vary: frozenset[str], observer: Observer) -> None:
        self.method = method
        self.vary = vary
        """Metadata that tells callers apart: `begin` needs all of it."""
        self._cache = cache
        self._observer = observer

    def begin(self, body: bytes, metadata: Metadata) -> Look | None:
        """Asks Redis; None: the long way. `ended` follows once the reply was awaited, whatever it brought."""
        return self._cache.begin(self.method, body, metadata)

    def ended(self, look: Look) -> Looked:
        """What the read found."""
        return self._cache.ended(look)

    def answered(self, looked: Looked, started: float) -> None:
        """A hit was answered; `started` is of `time.perf_counter`, when the call came."""
        if looked.found is not None:
            log_hit(looked.key, looked.found)
        self._observer.popular.read(looked.key.tag, cached=True)
        self._observer.hit(self.method, time.perf_counter() - started)

    def left(self, started: float) -> None:
        """The caller was gone before it had an answer."""
        self._observer.server_call(self.method, StatusCode.CANCELLED, time.perf_counter() - started)
