"""`Hits`: the cache's part of the fast path, which answers nearly every read. A transport calls, in this order:

    begin      asks Redis, if the request's key is remembered and its node is healthy; None means the slow path
    (the transport awaits `Look.reply`)
    ended      completes the Look, mostly with a fresh entry; otherwise the slow path continues with it (`Call.looked`)
    answered   counts the hit

The slow path is `Methods.read`. Both follow the rules of `Cache` and `redis_reads`.
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
    """What hits are reported to; see `proxy.telemetry.metrics`."""

    @property
    def popular(self) -> Popular: ...
    def hit(self, method: str, seconds: float) -> None: ...
    def server_call(self, method: str, code: StatusCode, seconds: float) -> None: ...


class Reads(Protocol):
    """Reads of Redis in two halves; see `proxy.store.redis_reads`."""

    def begin(self, key: RequestKey) -> Look | None: ...
    def ended(self, look: Look) -> Look: ...


class Hits:
    """The hits of one cacheable method."""

    def __init__(
        self,
        method: str,
        keys: Keys,
        reads: Reads,
        policy: Policy,
        held_back: Callable[[str, bool], bool],
        observer: Observer,
    ) -> None:
        """`held_back` is that of `Cache`."""
        self.method = method
        self.vary = keys.vary_of(method)
        """The metadata that tells callers apart; `begin` needs all of it."""
        self.ended = reads.ended
        """Completes the Look when its reply has been awaited, whatever the outcome."""
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
        """Counts a hit; `started` is when the call arrived, by `time.perf_counter`."""
        if look.found is not None:
            log_hit(look.key, look.found)
        self._observer.popular.read(look.key.tag, cached=True)
        self._observer.hit(self.method, time.perf_counter() - started)

    def left(self, started: float) -> None:
        """Counts a call whose caller left before the answer."""
        self._observer.server_call(self.method, StatusCode.CANCELLED, time.perf_counter() - started)
