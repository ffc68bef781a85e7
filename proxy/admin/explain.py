"""`Explainer`: why a call would be a hit, a miss or a bypass now, in words.

It asks the same parts in the same order as the cache itself does (`cache.py`), up to the first that decides; only
then it looks at what else is stored of the model, to say why there is nothing for this very request.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.admin.requests import Asked
from proxy.caching.invalidations import Invalidations
from proxy.caching.policy import Policy, cache_control
from proxy.calls.call import Call
from proxy.calls.event_gap import EventGap
from proxy.calls.keys import Keys, RequestKey
from proxy.calls.reads import Read
from proxy.errors import RedisUnavailableError
from proxy.store.redis_listing import ListedEntry, ListedLease, Listing, listing
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from proxy.telemetry.invalidation_log import InvalidationLog

_BUDGET = 1.0
_NO_KEY = (
    "The request is too large, or holds fields that this version does not know, or names a model type that the media "
    "service may take for another than we would (with letters like İ, ß and ς)."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`result` is what the call's `x-cache` would say; `why` are sentences, the deciding one first."""

    result: str
    why: tuple[str, ...]
    key: str = ""
    """The Redis key of the model's hash, and in it the request's `field`; empty where the cache is not asked."""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The media service as this process knows it."""

    connected: bool = True
    away: bool = False
    """It is connected, and its answers are those of a service that is away (UNAVAILABLE, DEADLINE_EXCEEDED)."""
    reason: str = ""
    """What is wrong with it; empty: nothing."""

    @property
    def trouble(self) -> str:
        """As the beginning of a sentence; empty: none."""
        if not self.connected:
            return f"The media service is away ({self.reason or 'not connected'})"
        return f"The media service is connected, but {self.reason}" if self.reason else ""


class Explainer:
    """Asks; changes nothing, takes no lease."""

    def __init__(
        self,
        store: RedisStore | None,
        keys: Keys,
        policy: Policy,
        invalidations: Invalidations,
        recent: InvalidationLog,
        redis_trouble: Callable[[], str],
        upstream: Callable[[], Upstream],
        reads: Mapping[str, Read],
    ) -> None:
        """`redis_trouble` says why Redis cannot be used."""
        self._upstream = upstream
        self._reads = reads
        self._store = store
        self._keys = keys
        self._policy = policy
        self._invalidations = invalidations
        self._recent = recent
        self._redis_trouble = redis_trouble

    async def explain(self, asked: Asked) -> Explanation:
        """What would become of this call now."""
        directives = cache_control(asked.call)
        key = self._keys.of_call(asked.call)
        if key is None:
            return Explanation("bypass", (_NO_KEY, *self._failing()))
        bypass = self._bypass(key, asked.call, directives)
        if bypass:
            return Explanation("bypass", (bypass, *self._failing()))
        result, *why = await self._cached(key, fresh="no-cache" in directives)
        if self._policy.mode == "shadow":
            first = f"The mode is shadow, which answers every call from the media service; on, it would be a {result}:"
            result, why = "bypass", [first, *why, *self._failing()]
        return Explanation(result, tuple(why), key.hash_key.decode(), key.field.hex())

    def _bypass(self, key: RequestKey, call: Call, directives: frozenset[str]) -> str:
        """Why the cache would not be asked; empty: it would."""
        if self._policy.mode == "off":
            return "The mode is off: every call goes to the media service (CACHE_MODE, POST /mode)."
        if self._policy.forwards_all:
            return "CACHE_TTL is 0: nothing is cached."
        if "no-store" in directives:
            return "The call carries cache-control: no-store."
        if key.problem:
            return f"The policy cannot tell its tag: {key.problem}."
        if key.bypass:
            return _bypassed(key, call)
        return ""

    async def _cached(self, key: RequestKey, *, fresh: bool) -> list[str]:
        """The result, then the reasons."""
        reason = self._past_the_cache(key)
        if not reason and fresh:
            reason = "The call carries cache-control: no-cache: it fetches anew and replaces what is stored."
        if reason or self._store is None:
            return ["miss", reason, *self._failing()]
        try:
            found = await self._store.read(key, Budget(_BUDGET))
            stored = await listing(self._store.topology, key.hash_key, self._store.gap, self._reads)
        except RedisUnavailableError as error:
            return ["miss", f"Redis cannot be used now: {error}.", *self._failing()]
        gap = _gap(self._store.gap)
        if found is not None and found.fresh:
            left = (found.entry.fresh_until_ms - found.now_ms) / 1000
            return ["hit", f"An answer of {found.age} s ago is stored, and fresh for {left:.0f} s more.", *gap]
        if found is not None and self._policy.revalidates(key.read.limits, found.entry, found.now_ms):
            return ["stale", f"The answer of {found.age} s ago has run out; it is served while a fresh one is fetched."]
        result, *why = _absent(key, stored)
        if found is not None and self._policy.stands_in(key.read.limits, found.entry, found.now_ms):
            upstream = self._upstream()
            if upstream.away or not upstream.connected:
                return ["stale", f"{upstream.trouble}: the stored answer stands in.", why[0], *gap]
            why.append("If the media service were away, the stored answer would stand in.")
        return [result, *why, *gap, *self._last(key), *self._failing()]

    def _failing(self) -> list[str]:
        """What becomes of a call that needs the media service, where that has trouble."""
        upstream = self._upstream()
        if not upstream.connected:
            return [f"{upstream.trouble}: the call fails with UNAVAILABLE."]
        return [f"{upstream.trouble}: expect the same of this call."] if upstream.trouble else []

    def _past_the_cache(self, key: RequestKey) -> str:
        """Why Redis is not asked for this model; empty: it is."""
        if self._store is None:
            return "REDIS_ADDR is empty: there is no cache."
        if not self._store.usable(key.hash_key):
            return f"Redis cannot be used now: {self._redis_trouble() or 'not connected'}."
        if self._invalidations.held_back(key.tag):
            return "An invalidation that Redis has not taken yet concerns this model: it is read past the cache."
        return ""

    def _last(self, key: RequestKey) -> list[str]:
        last = self._recent.last_of(key.tag)
        if last is None:
            return []
        ago = max(0.0, time.time() - last.at)
        by = (
            f"a flush ({last.detail})"
            if last.tag is None
            else {"event": "an event", "write": "a write"}.get(last.source, last.source)
        )
        return [f"This process last saw the model invalidated {ago:.0f} s ago, by {by}."]


def _bypassed(key: RequestKey, call: Call) -> str:
    """Why the policy has a read forwarded."""
    per_page = key.read.shown(call.body).get("per_page")
    if per_page is None:
        return "The policy's `bypass` has such reads forwarded."
    return (
        f"per_page is {per_page or 'not set, which means 20'}, and from CACHE_BYPASS_PER_PAGE on reads must see the "
        "truth: who reads so much may delete what is found."
    )


def _gap(gap: EventGap) -> list[str]:
    """What missing events do to all entries; empty while they arrive, or none are expected."""
    if gap.seconds is None:
        return []
    since = "have not arrived yet" if gap.seconds == math.inf else f"have been missing for {gap.seconds:.0f} s"
    return [f"Media events {since}: answers count for at most {gap.ttl:g} s from then or from their fetch."]


def _absent(key: RequestKey, stored: Listing) -> list[str]:
    """Why there is no fresh entry, and so what the lease script would say."""
    field = key.field.hex()
    entry = next((each for each in stored.entries if each.field == field), None)
    lease = next((each for each in stored.leases if each.field == field), None)
    reason = _of_entry(entry) if entry is not None else "Nothing is stored for this request."
    return [*_fetching(reason, lease, stored), *([] if entry is not None else _others(key, stored))]


_NOT_COUNTED = {
    "other run": "The stored answer is from before this Redis started or was promoted: it may be outdated.",
    "other clock": "The stored answer is of a later time than now: Redis' clock was set back since.",
    "after outage": "Redis is back from an outage; older answers count again in two seconds, if nobody removes them.",
}


def _of_entry(entry: ListedEntry) -> str:
    if entry.state in _NOT_COUNTED:
        return _NOT_COUNTED[entry.state]
    match entry.state:
        case "no events":
            return (
                "The stored answer would be fresh, but no media events arrive: it counts for CACHE_TTL_WITHOUT_EVENTS "
                f"only, and has run out {-(entry.ttl or 0.0):.0f} s ago."
            )
        case "stale" | "expired":
            return f"The stored answer has run out {-(entry.ttl or 0.0):.0f} s ago."
        case "fresh":
            return "The stored bytes are damaged, or another request's."
        case _:
            return "What is stored cannot be read by this version."


def _fetching(reason: str, lease: ListedLease | None, stored: Listing) -> list[str]:
    """The result, the reason, and what becomes of the fetch."""
    if stored.problem:
        return ["miss", reason, f"{stored.problem[0].upper()}{stored.problem[1:]}."]
    if stored.writes:
        why = "A write to this model is under way, or nobody knows how it ended: nothing is stored for at most"
        return ["miss", reason, f"{why} {max(stored.writes):.0f} s."]
    if stored.closed_for:
        return [
            "miss",
            reason,
            f"An event has only just invalidated it: nothing is stored for {stored.closed_for:.2f} s.",
        ]
    if lease is not None and lease.this_run and lease.ttl > 0:
        return [
            "coalesced",
            reason,
            f"Another call has been fetching it for {lease.age:.1f} s: this one waits for its answer.",
        ]
    unless = "unless it fails, is larger than CACHE_MAX_ENTRY_BYTES, or its presigned URLs are about to expire"
    return ["miss", reason, f"The call would fetch it and store the answer, {unless}."]


def _others(key: RequestKey, stored: Listing) -> list[str]:
    """What is stored of the model for other requests: what often explains an unexpected miss."""
    others = [each for each in stored.entries if each.collection is not None]
    if not others:
        return ["Nothing at all is stored of this model."] if not stored.entries else []
    shown = [
        f"{each.model_type} collection {each.collection!r} page {each.page} per_page {each.per_page}"
        + (" of a caller with vary-metadata" if each.by_caller else "")
        for each in others[:5]
    ]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return [f"Stored of this model: {'; '.join(shown)}{more}. Each field must be the same for a hit."]
