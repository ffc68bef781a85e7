"""`Hits`: the fast path of a hit, which nearly every read takes. Between its two halves a transport awaits Redis.

    begin      with a remembered key, no `cache-control` and a healthy node, Redis is asked; else None: the slow path
    ended      fills in what was found, mostly a fresh entry; otherwise the slow path continues from it (`Call.looked`)
    answered   the caller has the answer: counted once

The slow path is `Methods.read`. Both follow the same rules, those of `Cache` and `redis_reads`.
"""

import time
from collections.abc import Callable
from typing import Protocol

from grpc import StatusCode

from proxy.caching.cache import log_hit
from proxy.caching.policy import Policy
from proxy.calls.call import Metadata
from proxy.calls.keys import Keys, RequestKey
from proxy.store.redis_reads import Look
from proxy.telemetry.popular import Popular


class Observer(Protocol):
    """Who counts."""

    @property
    def popular(self) -> Popular: ...
    def hit(self, method: str, seconds: float) -> None: ...
    def server_call(self, method: str, code: StatusCode, seconds: float) -> None: ...


class Reads(Protocol):
    """Reads of Redis in two halves; see `proxy.store.redis_reads`."""

    def begin(self, key: RequestKey) -> Look | None: ...
    def ended(self, look: Look) -> Look: ...


class Hits:
    """For one method whose answers are stored."""

    def __init__(
        self,
        method: str,
        keys: Keys,
        reads: Reads,
        policy: Policy,
        held_back: Callable[[str, bool], bool],
        observer: Observer,
    ) -> None:
        """`held_back` is the one of `Cache`."""
        self.method = method
        self.vary = keys.vary_of(method)
        """Metadata that tells callers apart: `begin` needs all of it."""
        self.ended = reads.ended
        """The second half, once the reply was awaited, whatever it brought."""
        self._ask = reads.begin
        self._remembered = keys.remembered
        self._policy = policy
        self._held_back = held_back
        self._observer = observer

    def begin(self, body: bytes, metadata: Metadata) -> Look | None:
        """Steps 1 and 2 of `Cache.get`: asks Redis. None means the slow path. `metadata` has no `cache-control`."""
        policy = self._policy
        if policy.mode != "on" or policy.ttl <= 0:
            return None
        key = self._remembered(self.method, body, metadata)
        if key is None or key.bypass or self._held_back(key.tag, key.read.dependent):
            return None
        return self._ask(key)

    def answered(self, look: Look, started: float) -> None:
        """A hit was answered; `started` is when the call came, by `time.perf_counter`."""
        if look.found is not None:
            log_hit(look.key, look.found)
        self._observer.popular.read(look.key.tag, cached=True)
        self._observer.hit(self.method, time.perf_counter() - started)

    def left(self, started: float) -> None:
        """The caller was gone before it had an answer."""
        self._observer.server_call(self.method, StatusCode.CANCELLED, time.perf_counter() - started)
