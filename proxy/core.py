"""`Core`: the caching core of one process, wired from settings, without any transport or event consumer.

Every transport serves its handlers; `MediaCacheService` uses them inside a Python application.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Self

from proxy.caching.cache import Cache
from proxy.caching.hits import Hits
from proxy.caching.invalidations import Invalidations
from proxy.caching.methods import Methods
from proxy.caching.own_writes import OwnWrites
from proxy.caching.policy import Policy
from proxy.calls.call import Handler
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys
from proxy.errors import BadPolicyError, SettingError
from proxy.policy import compiled
from proxy.policy.builtin.old_keys import old_keys
from proxy.policy.serving import served_policy
from proxy.policy.watched import Watched
from proxy.served import Served, Shared
from proxy.settings.config import Settings
from proxy.store.old_cache import OldCache
from proxy.store.redis_store import RedisStore
from proxy.telemetry.dependency import Dependency, State
from proxy.telemetry.invalidation_log import InvalidationLog
from proxy.telemetry.metrics import Metrics
from proxy.tls import Tls
from proxy.transport.credentials import reflecting
from proxy.transport.upstream import Upstream
from proxy.transport.upstreams import Channels, Upstreams


@dataclass(slots=True)
class Core:
    """The parts of the core, for the composition root. Must be made inside the event loop; `run` keeps it working."""

    served: Served
    """The parts that depend on the policy, for the current one."""
    shared: Shared
    names: Keys
    """The store's keys, which do not depend on the policy."""
    channels: Channels
    redis: Dependency | None
    """None without REDIS_ADDR."""
    recent: InvalidationLog
    gap: EventGap
    """Opened and closed by the consumer of events; closed while there is none."""
    tls: Tls
    old: OldCache | None
    """The gateway's own cached keys, with OLD_CACHE_KEYS=delete."""
    files: Watched
    """The files that the policy was read from."""
    _retired: list[Cache] = field(default_factory=list)
    """The caches of previous policies that may still have calls in progress."""

    @classmethod
    def build(cls, settings: Settings, metrics: Metrics, tls: Tls | None = None, files: Watched | None = None) -> Self:
        """Wires the parts without connecting to anything. Reads the TLS files unless `tls` is given, and the policy
        unless `files` has read it already.

        SettingError: a file cannot be used. BadPolicyError: the policy cannot be used.
        """
        tls, files = tls or Tls.load(settings), files or Watched()
        policy = policy_by(settings, files)
        files.forget()
        channels = Channels(Upstream(settings.media_service_addr, metrics, tls.upstream), metrics, tls.upstream)
        try:
            upstreams = channels.to(policy)
        except SettingError as error:
            raise BadPolicyError(str(error)) from None
        gap = EventGap(settings.cache_ttl_without_events, time.monotonic)
        redis, store, names = None, None, Keys(settings.cache_namespace, (), policy.reads)
        if settings.redis is not None:
            redis = Dependency("redis", lambda up: metrics.dependency("redis", up=up), time.monotonic)
            store = RedisStore(
                settings.redis,
                names,
                ttl=settings.cache_ttl,
                stale=max(settings.cache_stale_if_error, settings.cache_stale_while_revalidate),
                changed=redis.changed,
                gap=gap,
                tls=tls.redis,
                dependants=bool(settings.policy),
            )
        recent = InvalidationLog()
        old = None
        if store and settings.old_cache_keys == "delete":
            old = OldCache(recent, store.topology.node_for, old_keys)
        invalidations = Invalidations(store, metrics, journal=old or recent, window=settings.cache_event_window)
        shared = Shared(settings, metrics, store, invalidations, OwnWrites(invalidations), _caching(settings))
        return cls(Served.by(policy, upstreams, shared), shared, names, channels, redis, recent, gap, tls, old, files)

    def take_up(self, policy: compiled.Policy) -> None:
        """Calls that begin from now on use this policy; calls in progress continue with the previous one.

        SettingError: a TLS file that the policy names cannot be used, and nothing has changed.
        """
        before, upstreams = self.served, self.channels.to(policy)
        self.names.also(policy.reads)
        self.served = Served.by(policy, upstreams, self.shared)
        before.keys.forget()
        self._retired = [cache for cache in (*self._retired, before.cache) if cache.busy or cache is before.cache]

    @property
    def policy(self) -> compiled.Policy:
        return self.served.policy

    @property
    def upstream(self) -> Upstream:
        """The upstream at MEDIA_SERVICE_ADDR."""
        return self.channels.default

    @property
    def upstreams(self) -> Upstreams:
        return self.served.upstreams

    @property
    def store(self) -> RedisStore | None:
        return self.shared.store

    @property
    def invalidations(self) -> Invalidations:
        return self.shared.invalidations

    @property
    def own_writes(self) -> OwnWrites:
        return self.shared.own_writes

    @property
    def keys(self) -> Keys:
        return self.served.keys

    @property
    def cache(self) -> Cache:
        return self.served.cache

    @property
    def methods(self) -> Methods:
        return self.served.methods

    @property
    def hits(self) -> tuple[Hits, ...]:
        """One for each read of the policy; none without Redis."""
        return self.served.hits

    @property
    def routes(self) -> dict[str, Handler]:
        """The handlers of the policy's reads and writes, by path; all other methods are only forwarded."""
        return self.served.answered

    def redis_state(self) -> State:
        """Whether Redis can be used. The reason is the present one, which may differ from the one for which Redis was
        lost; there is also one when Redis can be used but refuses commands that the proxy's user may not run.
        """
        state = self.redis.state if self.redis is not None else State(False, None)
        trouble = self.store.trouble if self.store is not None and state.seconds is not None else ""
        return replace(state, reason=trouble) if trouble else state

    async def run(self) -> None:
        """Keeps Redis connected, retries invalidations and reloads certificates, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.store is not None:
                tasks.create_task(self.store.run(), name="redis")
            tasks.create_task(self.invalidations.run(), name="invalidations")
            tasks.create_task(self.tls.watch(more=lambda: self.channels.legs), name="certificates")

    async def close(self) -> None:
        """Finishes what calls left to do while Redis is still connected, such as pending invalidations, which are
        tried once more, and then closes the channels upstream.
        """
        async with AsyncExitStack() as stack:
            if self.old is not None:
                stack.callback(self.old.close)
            stack.push_async_callback(self.channels.close)
            stack.push_async_callback(self.invalidations.close)
            stack.push_async_callback(self.own_writes.close)
            for cache in (self.cache, *self._retired):
                stack.push_async_callback(cache.close)


def policy_by(settings: Settings, watched: Watched) -> compiled.Policy:
    """Reads the policy that POLICY names; PolicyError: it cannot be used. `watched` notes the files that are read."""
    return served_policy(
        settings.policy,
        constants={"CACHE_BYPASS_PER_PAGE": settings.cache_bypass_per_page},
        default_upstream=settings.media_service_addr,
        connect=reflecting(settings),
        watched=watched,
        listen_addr=settings.listen_addr,
        transport=settings.transport,
    )


def _caching(settings: Settings) -> Policy:
    return Policy(
        mode=settings.cache_mode,
        ttl=settings.cache_ttl,
        stale_if_error=settings.cache_stale_if_error,
        stale_while_revalidate=settings.cache_stale_while_revalidate,
        max_entry_bytes=settings.cache_max_entry_bytes,
        ttl_temporary_credentials=settings.cache_ttl_temporary_credentials,
    )
