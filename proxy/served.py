"""`Served`: the parts of the core that depend on the policy. A new policy has new ones; calls in progress keep theirs.

`Shared` has the parts that all policies use: Redis, invalidations and own writes.
"""

import random
import time
from dataclasses import dataclass
from functools import partial
from typing import Self

from google.protobuf.descriptor_pool import DescriptorPool

from proxy.caching.cache import Cache
from proxy.caching.hits import Hits
from proxy.caching.invalidations import Invalidations
from proxy.caching.methods import Methods
from proxy.caching.own_writes import OwnWrites
from proxy.caching.policy import Policy
from proxy.calls.call import Call, Handler, Reply
from proxy.calls.keys import Keys
from proxy.policy import compiled
from proxy.policy.sharing import concerned
from proxy.settings.config import Settings
from proxy.store.redis_store import RedisStore
from proxy.telemetry.metrics import Metrics
from proxy.transport.forward import unary_forwarder
from proxy.transport.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that do not depend on the policy."""

    settings: Settings
    metrics: Metrics
    store: RedisStore | None
    invalidations: Invalidations
    own_writes: OwnWrites
    caching: Policy
    """TTLs, stale allowances and mode from the settings; operators may change the mode while the proxy runs."""


@dataclass(frozen=True, slots=True)
class Served:
    """Must be made inside the event loop."""

    policy: compiled.Policy
    upstreams: Upstreams
    keys: Keys
    cache: Cache
    methods: Methods
    hits: tuple[Hits, ...]
    """One for each read of the policy; none without Redis."""

    @classmethod
    def by(cls, policy: compiled.Policy, upstreams: Upstreams, shared: Shared) -> Self:
        """The parts for this policy. Its methods and services are also registered with the metrics."""
        settings, metrics, store = shared.settings, shared.metrics, shared.store
        metrics.serves(policy.labels, policy.reads)
        metrics.upstream_answers.serves({name: service.called for name, service in policy.services.items()})
        shared.invalidations.concerned = partial(concerned, policy)
        fetch = _fetcher(upstreams)
        keys = Keys(settings.cache_namespace, settings.cache_vary_metadata, policy.reads)
        cache = Cache(
            store,
            fetch,
            keys,
            shared.caching,
            held_back=shared.invalidations.held_back,
            observer=metrics,
            random=random.random,
        )
        methods = Methods(policy.reads, policy.writes, cache, shared.own_writes, fetch, store, metrics)
        return cls(policy, upstreams, keys, cache, methods, _hits(policy, keys, shared))

    @property
    def answered(self) -> dict[str, Handler]:
        """The handlers of the policy's reads and writes, by path; all other methods are only forwarded."""
        return self.methods.routes

    @property
    def described(self) -> dict[str, DescriptorPool]:
        """The descriptors of each service, by its full name."""
        return self.policy.described

    @property
    def large_methods(self) -> frozenset[str]:
        """The paths of writes whose requests may be large."""
        return self.policy.large

    @property
    def routes(self) -> dict[str, Handler]:
        """The handlers of all methods that are known to be unary, by path."""
        return {**dict.fromkeys(self.policy.unary, unary_forwarder(self.upstreams)), **self.answered}


def _hits(policy: compiled.Policy, keys: Keys, shared: Shared) -> tuple[Hits, ...]:
    """The fast paths; without a Redis there are none."""
    if shared.store is None:
        return ()
    reads, held_back = shared.store.reads, shared.invalidations.held_back
    return tuple(Hits(path, keys, reads, shared.caching, held_back, shared.metrics) for path in policy.reads)


def _fetcher(upstreams: Upstreams) -> Handler:
    """A handler that sends a call upstream, within the call's deadline."""

    async def fetch(call: Call) -> Reply:
        timeout = None if call.deadline is None else max(0.0, call.deadline - time.monotonic())
        return await upstreams.of(call.method).unary(call, timeout=timeout)

    return fetch
