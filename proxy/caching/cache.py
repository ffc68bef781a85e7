"""`Cache`: answers reads from Redis, or fetches and stores. It is independent of the transport: bytes in, bytes out.

The steps of a read (`Cache.get`):
    1. policy   forward if the cache is off, or for no-store, unknown fields, or the policy's bypass (`bypass`)
    2. look     read Redis once; a fresh entry is the answer (`hit`)
    3. lease    run one script, which finds an entry after all, grants a lease, or names its holder's token
    4. fetch    fetch (`miss`) or join another fetch (`coalesced`); see `fetches`
    5. stale    if upstream is unavailable, serve an expired entry (`stale`)
If Redis is unavailable at any step, the call is forwarded, and nothing is stored or shared (`miss`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from grpc import StatusCode

from proxy.caching import fetches, policy_problems
from proxy.caching.fetches import Answer, Fetches, subject
from proxy.caching.policy import Policy, cache_control
from proxy.caching.policy_problems import PolicyProblems
from proxy.calls.call import Call, Handler, Reply
from proxy.calls.keys import Keys, RequestKey
from proxy.calls.tags import told_kind
from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import Budget
from proxy.store.redis_reads import Found, Look
from proxy.telemetry import tracing

log = logging.getLogger(__name__)

_UPSTREAM_AWAY = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED})
_TIME_FOR_STALE, _SHARE_FOR_STALE = 0.100, 0.1
"""A stale answer is given so many seconds before the caller's deadline, but at most this share of its time before."""
_FORWARDED = "a call is forwarded, uncached: the policy cannot tell its tag"
_MOST_REFRESHES = 100
_REFRESH_TIMEOUT = 10.0  # seconds, as long as a lease


class Store(fetches.Store, Protocol):
    """What the cache needs of Redis; see `RedisStore`."""

    def usable(self, hash_key: bytes) -> bool: ...
    async def read(self, key: RequestKey, budget: Budget) -> Found | None: ...


class Observer(fetches.Observer, policy_problems.Observer, Protocol):
    """What reads are reported to; see `proxy.telemetry.metrics`."""


class Cache:
    """The caching core of one process."""

    def __init__(
        self,
        store: Store | None,
        fetch: Handler,
        keys: Keys,
        policy: Policy,
        *,
        held_back: Callable[[str, bool], bool],
        observer: Observer,
        random: Callable[[], float],
    ) -> None:
        """`fetch` asks upstream. `held_back` says whether Redis lacks an invalidation of a tag or, if the second
        argument is true, of any tag that its answers may depend on.
        """
        self._store = store
        self._fetch = fetch
        self._keys = keys
        self.policy = policy
        self._held_back = held_back
        self._policy_problems = PolicyProblems(observer)
        self._fetches = Fetches(fetch, policy, observer=observer, random=random)
        self._refreshes: dict[tuple[bytes, bytes], asyncio.Task[None]] = {}

    async def get(self, call: Call) -> Answer:
        """Answers one call of a read."""
        if isinstance(call.looked, Look) and self._store is not None:
            return await self._go_on(self._store, call, call.looked)
        key, fresh = self._key_of(call)
        if key is None:
            return Answer(await self._fetch(call), "bypass")
        if self._store is None or not self._trusted(self._store, key):
            _log_miss(key)
            return Answer(await self._fetch(call), "miss")
        return await self._look(self._store, call, key, None, fresh=fresh)

    def tag_of(self, call: Call) -> str | None:
        """The tag that a call reads; None if it can never be answered from the cache."""
        key = self._keys.of_call(call)
        return None if key is None or key.bypass else key.tag

    async def look_up(self, call: Call) -> Found | None:
        """The entry that a call would be a hit on; shadow mode compares it with upstream's answer."""
        key, fresh = self._key_of(call)
        if key is None or fresh or self._store is None or not self._trusted(self._store, key):
            return None
        try:
            found = await self._store.read(key, Budget())
        except RedisUnavailableError:
            return None
        return found if found is not None and found.fresh else None

    async def keep(self, call: Call) -> Reply:
        """Upstream's answer, whatever the cache holds. It is stored unless another call is about to store one."""
        key, fresh = self._key_of(call)
        if key is not None and self._store is not None and self._trusted(self._store, key):
            budget = Budget()
            try:
                grant = await self._store.acquire(key, budget, take_over=fresh)
            except RedisUnavailableError:
                return await self._fetch(call)
            if grant.kind == "lease":
                return (await self._fetches.answer(self._store, call, key, grant, budget)).reply
        return await self._fetch(call)

    @property
    def busy(self) -> bool:
        """Whether fetches are in progress."""
        return bool(self._refreshes) or len(self._fetches) > 0

    async def close(self) -> None:
        """Ends fetches that no caller waits for."""
        refreshes = list(self._refreshes.values())
        for task in refreshes:
            task.cancel()
        await asyncio.gather(*refreshes, return_exceptions=True)
        await self._fetches.close()

    def _key_of(self, call: Call) -> tuple[RequestKey | None, bool]:
        """The key, or None if the call bypasses the cache; and whether the caller wants a fresh answer."""
        if self.policy.forwards_all:
            return None, False
        directives = cache_control(call)
        key = None if "no-store" in directives else self._keys.of_call(call)
        if key is None:
            return None, False
        if key.problem:
            self._policy_problems.met(key.read.path, key.problem, _FORWARDED)
        else:
            tracing.about(told_kind(key.tag, key.about, key.read.kind))
        return (None if key.bypass else key), "no-cache" in directives

    def _trusted(self, store: Store, key: RequestKey) -> bool:
        """Whether Redis can be used and has every invalidation of this tag that this process knows of."""
        return store.usable(key.hash_key) and not self._held_back(key.tag, key.read.dependent)

    async def _go_on(self, store: Store, call: Call, looked: Look) -> Answer:
        """Steps 3 to 5, for a call whose second step was done on the fast path."""
        if looked.failed:
            _log_miss(looked.key)
            return Answer(await self._fetch(call), "miss")
        return await self._look(store, call, looked.key, looked, fresh=False)

    async def _look(self, store: Store, call: Call, key: RequestKey, looked: Look | None, *, fresh: bool) -> Answer:
        """Steps 2 to 5, repeated if the fetch that was joined ended with its leader's deadline."""
        budget = Budget() if looked is None else Budget(looked.left)
        while True:
            found: Found | None = None
            try:
                if not fresh:
                    found = await store.read(key, budget) if looked is None else looked.found
                    looked = None
                    if found is not None and found.fresh:
                        return _hit(key, found)
                    if found is not None and self.policy.revalidates(key.read.limits, found.entry, found.now_ms):
                        self._refresh(store, call, key)
                        return _stale(found)
                grant = await store.acquire(key, budget, take_over=fresh)
            except RedisUnavailableError:
                _log_miss(key)
                return Answer(await self._fetch(call), "miss")
            if grant.found is not None:
                return _hit(key, grant.found)
            _log_miss(key)
            answering = self._fetches.answer(store, call, key, grant, budget, alone=fresh)
            if found is not None and self.policy.stands_in(key.read.limits, found.entry, found.now_ms):
                answer = await self._or_stale(store, call, key, answering, budget)
            else:
                answer = await answering
            if not _asks_again(answer, call):
                return answer

    async def _or_stale(
        self, store: Store, call: Call, key: RequestKey, answering: Coroutine[Any, Any, Answer], budget: Budget
    ) -> Answer:
        """The fetched answer or, if upstream is unavailable, the expired entry, provided it was not invalidated."""
        left = _time_left(call)
        try:
            async with asyncio.timeout(None if left is None else left - min(_TIME_FOR_STALE, _SHARE_FOR_STALE * left)):
                answer = await answering
        except TimeoutError:
            away = Reply(code=StatusCode.DEADLINE_EXCEEDED, details="the media service did not answer in time")
            answer = Answer(away, "miss")
        if answer.reply.code not in _UPSTREAM_AWAY or _asks_again(answer, call) or not self._trusted(store, key):
            return answer
        try:
            found = await store.read(key, budget)
        except RedisUnavailableError:
            return answer
        if found is not None and found.fresh:
            return _hit(key, found)
        stands_in = found is not None and self.policy.stands_in(key.read.limits, found.entry, found.now_ms)
        return _stale(found) if found is not None and stands_in else answer

    def _refresh(self, store: Store, call: Call, key: RequestKey) -> None:
        """Fetches in the background of a stale answer: one fetch per entry, without the caller's deadline."""
        name = (key.hash_key, key.field)
        if name in self._refreshes or len(self._refreshes) >= _MOST_REFRESHES:
            return

        async def refresh() -> None:
            with tracing.refresh_span():
                tracing.about(told_kind(key.tag, key.about, key.read.kind))
                await self._refetch(store, call, key)

        task = asyncio.create_task(refresh(), name="refresh")
        self._refreshes[name] = task
        task.add_done_callback(lambda _: self._refreshes.pop(name))

    async def _refetch(self, store: Store, call: Call, key: RequestKey) -> None:
        budget = Budget()
        try:
            grant = await store.acquire(key, budget)
        except RedisUnavailableError:
            return
        if grant.kind == "lease":
            deadline = time.monotonic() + _REFRESH_TIMEOUT
            await self._fetches.answer(store, Call(call.method, call.body, call.metadata, deadline), key, grant, budget)


def _time_left(call: Call) -> float | None:
    """Seconds until the caller's deadline; None if there is none."""
    return None if call.deadline is None else call.deadline - time.monotonic()


def _asks_again(answer: Answer, call: Call) -> bool:
    """Whether the joined fetch ended with its leader's deadline while this call still has time."""
    left = _time_left(call)
    return answer.cut and answer.result == "coalesced" and (left is None or left > 0)


def _stale(found: Found) -> Answer:
    return Answer(found.entry.reply, "stale", found.age)


def _hit(key: RequestKey, found: Found) -> Answer:
    log_hit(key, found)
    return Answer(found.entry.reply, "hit", found.age)


def log_hit(key: RequestKey, found: Found) -> None:
    """Logs one line at debug level."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("Cache hit for %s", subject(key), extra={**key.about.to_say_of(key.tag), "age": found.age})


def _log_miss(key: RequestKey) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("Cache miss for %s", subject(key), extra=dict(key.about.to_say_of(key.tag)))
