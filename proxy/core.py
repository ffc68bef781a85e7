"""`Core`: the caching core of one process, wired from settings, without any transport or event consumer.

Every transport serves these handlers; `MediaCacheService` uses them in process.
"""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Self

from proxy.caching.cache import Cache
from proxy.caching.hits import Hits
from proxy.caching.invalidations import Invalidations
from proxy.caching.methods import Methods
from proxy.caching.own_writes import OwnWrites
from proxy.caching.policy import Policy
from proxy.calls.call import Call, Handler, Reply
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys
from proxy.policy import compiled
from proxy.policy.builtin.old_keys import old_keys
from proxy.policy.loading import load_policy
from proxy.settings.config import Settings
from proxy.store.old_cache import OldCache
from proxy.store.redis_store import RedisStore
from proxy.telemetry.dependency import Dependency, State
from proxy.telemetry.invalidation_log import InvalidationLog
from proxy.telemetry.metrics import Metrics
from proxy.tls import Tls
from proxy.transport.upstream import Upstream
from proxy.transport.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class Core:
    """Its parts, for whoever composes them. Made inside the event loop; `run` keeps Redis connected."""

    upstream: Upstream
    """The default one."""
    upstreams: Upstreams
    store: RedisStore | None
    invalidations: Invalidations
    cache: Cache
    own_writes: OwnWrites
    methods: Methods
    keys: Keys
    policy: compiled.Policy
    hits: tuple[Hits, ...]
    """One for each read."""
    redis: Dependency | None
    recent: InvalidationLog
    gap: EventGap
    """Told by whoever consumes events; closed while nobody does."""
    tls: Tls
    old: OldCache | None

    @classmethod
    def build(cls, settings: Settings, metrics: Metrics, tls: Tls | None = None) -> Self:
        """Wires the parts; connects to nothing yet. Without `tls` its files are read here: SettingError."""
        tls = tls or Tls.load(settings)
        policy = load_policy(
            settings.policy,
            constants={"CACHE_BYPASS_PER_PAGE": settings.cache_bypass_per_page},
            default_upstream=settings.media_service_addr,
        )
        metrics.serves(policy.labels, policy.reads)
        upstream = Upstream(settings.media_service_addr, metrics, tls.upstream)
        upstreams = _upstreams(upstream, policy, metrics, tls)

        async def fetch(call: Call) -> Reply:
            timeout = None if call.deadline is None else max(0.0, call.deadline - time.monotonic())
            return await upstreams.of(call.method).unary(call, timeout=timeout)

        keys = Keys(settings.cache_namespace, settings.cache_vary_metadata, policy.reads)
        gap = EventGap(settings.cache_ttl_without_events, time.monotonic)
        redis, store = None, None
        if settings.redis is not None:
            redis = Dependency("redis", lambda up: metrics.dependency("redis", up=up), time.monotonic)
            stale = max(settings.cache_stale_if_error, settings.cache_stale_while_revalidate)
            store = RedisStore(
                settings.redis,
                keys,
                ttl=settings.cache_ttl,
                stale=stale,
                changed=redis.changed,
                gap=gap,
                tls=tls.redis,
            )
        recent = InvalidationLog()
        old = None
        if store and settings.old_cache_keys == "delete":
            old = OldCache(recent, store.topology.node_for, old_keys)
        invalidations = Invalidations(store, metrics, journal=old or recent, window=settings.cache_event_window)
        cache = Cache(
            store,
            fetch,
            keys,
            _policy(settings),
            held_back=invalidations.held_back,
            observer=metrics,
            random=random.random,
        )
        own_writes = OwnWrites(invalidations, fetch)
        methods = Methods(policy.reads, policy.writes, cache, own_writes, fetch, store, metrics)
        hits = tuple(Hits(path, cache, keys.vary_of(path), metrics) for path in policy.reads)
        return cls(
            upstream=upstream,
            upstreams=upstreams,
            store=store,
            invalidations=invalidations,
            cache=cache,
            own_writes=own_writes,
            methods=methods,
            keys=keys,
            policy=policy,
            hits=hits,
            redis=redis,
            recent=recent,
            gap=gap,
            tls=tls,
            old=old,
        )

    @property
    def routes(self) -> dict[str, Handler]:
        """The methods answered here, by path; every other one is forwarded."""
        return self.methods.routes

    def redis_state(self) -> State:
        """Whether Redis can be used, and why not now, which may be another reason than the one that it was lost for; a
        reason also where it can be used and yet refuses what our user may not do.
        """
        state = self.redis.state if self.redis is not None else State(False, None)
        trouble = self.store.trouble if self.store is not None and state.seconds is not None else ""
        return replace(state, reason=trouble) if trouble else state

    async def run(self) -> None:
        """Keeps Redis connected, retries invalidations and reads certificates anew, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.store is not None:
                tasks.create_task(self.store.run(), name="redis")
            tasks.create_task(self.invalidations.run(), name="invalidations")
            tasks.create_task(self.tls.watch(), name="certificates")

    async def close(self) -> None:
        """Ends what calls left behind, while Redis is still connected: pending invalidations are tried once more."""
        async with AsyncExitStack() as stack:
            if self.old is not None:
                stack.callback(self.old.close)
            stack.push_async_callback(self.upstreams.close)
            stack.push_async_callback(self.invalidations.close)
            stack.push_async_callback(self.own_writes.close)
            stack.push_async_callback(self.cache.close)


def _upstreams(default: Upstream, policy: compiled.Policy, metrics: Metrics, tls: Tls) -> Upstreams:
    """A channel for each target that the policy names."""
    targets = {service.upstream for service in policy.services.values()} - {"", default.target}
    channels = {target: Upstream(target, metrics, tls.upstream) for target in targets}
    named = {name: channels.get(service.upstream, default) for name, service in policy.services.items()}
    return Upstreams(default, named)


def _policy(settings: Settings) -> Policy:
    return Policy(
        mode=settings.cache_mode,
        ttl=settings.cache_ttl,
        stale_if_error=settings.cache_stale_if_error,
        stale_while_revalidate=settings.cache_stale_while_revalidate,
        max_entry_bytes=settings.cache_max_entry_bytes,
        ttl_temporary_credentials=settings.cache_ttl_temporary_credentials,
    )
