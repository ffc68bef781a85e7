"""`Explainer`: explains in words why a call would be a hit, a miss or a bypass now.

It asks the same parts in the same order as the cache (`cache.py`), up to the first one that decides. Then it looks at
what else is stored for the tag, to explain why there is nothing for this request.
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
from proxy.errors import RedisUnavailableError
from proxy.policy.compiled import Read
from proxy.policy.spellings import is_plain
from proxy.store.redis_listing import ListedEntry, ListedLease, Listing, listing
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from proxy.telemetry.invalidation_log import InvalidationLog

_BUDGET = 1.0
_NO_KEY = "The request is too large, or has fields that the policy's descriptors do not know."


@dataclass(frozen=True, slots=True)
class Explanation:
    """`result` is what the call's `x-cache` would be; `why` has sentences, of which the first names what decides."""

    result: str
    why: tuple[str, ...]
    key: str = ""
    """The Redis key of the model's hash; "" if the call bypasses the cache."""
    field: str = ""
    """The request's field in that hash, in hex; "" if the call bypasses the cache."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service as this process knows it."""

    called: str = "the media service"

    connected: bool = True
    away: bool = False
    """Whether it is failing with UNAVAILABLE or DEADLINE_EXCEEDED, so that expired answers may be served instead."""
    reason: str = ""
    """What is wrong with it; "" if nothing is."""

    @property
    def trouble(self) -> str:
        """The beginning of a sentence about what is wrong; "" if nothing is."""
        if not self.connected:
            return f"{_first_upper(self.called)} is away ({self.reason or 'not connected'})"
        return f"{_first_upper(self.called)} is connected, but {self.reason}" if self.reason else ""


class Explainer:
    """It only reads: it changes nothing and takes no lease."""

    def __init__(
        self,
        store: RedisStore | None,
        keys: Keys,
        policy: Policy,
        invalidations: Invalidations,
        recent: InvalidationLog,
        redis_trouble: Callable[[], str],
        upstream: Callable[[str], Upstream],
        reads: Mapping[str, Read],
    ) -> None:
        """`redis_trouble` returns why Redis cannot be used, `upstream` the service that a method belongs to."""
        self._upstream = upstream
        self._reads = reads
        self._store = store
        self._keys = keys
        self._policy = policy
        self._invalidations = invalidations
        self._recent = recent
        self._redis_trouble = redis_trouble

    async def explain(self, asked: Asked) -> Explanation:
        """The result that this call would have now, and why."""
        directives = cache_control(asked.call)
        key = self._keys.of_call(asked.call)
        upstream = self._upstream(asked.call.method)
        if key is None:
            return Explanation("bypass", (_NO_KEY, *_failing(upstream)))
        bypass = self._bypass(key, asked.call, directives)
        if bypass:
            return Explanation("bypass", (bypass, *_failing(upstream)))
        result, *why = await self._cached(key, fresh="no-cache" in directives)
        if self._policy.mode == "shadow":
            first = (
                f"The mode is shadow: {upstream.called} answers every call. In mode on the result would be {result}:"
            )
            result, why = "bypass", [first, *why, *_failing(upstream)]
        return Explanation(result, tuple(why), key.hash_key.decode(), key.field.hex())

    def _bypass(self, key: RequestKey, call: Call, directives: frozenset[str]) -> str:
        """Why the call would bypass the cache; "" if it would not."""
        if self._policy.mode == "off":
            called = self._upstream(call.method).called
            return f"The mode is off: every call goes to {called} (CACHE_MODE, POST /mode)."
        if self._policy.forwards_all:
            return "CACHE_TTL is 0: nothing is cached."
        if "no-store" in directives:
            return "The call carries cache-control: no-store."
        if key.problem:
            return f"The policy cannot determine its tag: {key.problem}."
        if key.bypass:
            return _bypassed(self._reads[call.method], call)
        return ""

    async def _cached(self, key: RequestKey, *, fresh: bool) -> list[str]:
        """The result, followed by the reasons."""
        upstream = self._upstream(key.read.path)
        reason = self._past_the_cache(key)
        if not reason and fresh:
            reason = (
                "The call carries cache-control: no-cache: it fetches a fresh answer, which replaces the stored one."
            )
        if reason or self._store is None:
            return ["miss", reason, *_failing(upstream)]
        try:
            found = await self._store.read(key, Budget(_BUDGET))
            stored = await listing(self._store.topology, key.hash_key, self._store.gap, self._reads)
        except RedisUnavailableError as error:
            return ["miss", f"Redis cannot be used now: {error}.", *_failing(upstream)]
        gap = _gap(self._store.gap)
        if found is not None and found.fresh:
            left = (found.entry.fresh_until_ms - found.now_ms) / 1000
            return ["hit", f"An answer stored {found.age} s ago is fresh for another {left:.0f} s.", *gap]
        if found is not None and self._policy.revalidates(key.read.limits, found.entry, found.now_ms):
            return [
                "stale",
                f"The answer stored {found.age} s ago has expired; it is served while a fresh one is fetched.",
            ]
        result, *why = _absent(key, stored, reachable=upstream.connected)
        if found is not None and self._policy.stands_in(key.read.limits, found.entry, found.now_ms):
            if upstream.away or not upstream.connected:
                return ["stale", f"{upstream.trouble}: the stored answer is served instead.", why[0], *gap]
            why.append(f"If {upstream.called} were away, the stored answer would be served.")
        return [result, *why, *gap, *self._last(key), *_failing(upstream)]

    def _past_the_cache(self, key: RequestKey) -> str:
        """Why Redis is not asked about this model; "" if it is."""
        if self._store is None:
            return "REDIS_ADDR is empty: there is no cache."
        if not self._store.usable(key.hash_key):
            return f"Redis cannot be used now: {self._redis_trouble() or 'not connected'}."
        if self._invalidations.held_back(key.tag, key.read.dependent):
            return (
                "An invalidation of this model is waiting for Redis: until Redis confirms it, reads bypass the cache."
            )
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


def _first_upper(text: str) -> str:
    return text if "." in text else text[0].upper() + text[1:]


def _failing(upstream: Upstream) -> list[str]:
    """What happens to a call that goes upstream, if something is wrong with the service."""
    if not upstream.connected:
        return [f"{upstream.trouble}: the call fails with UNAVAILABLE."]
    return [f"{upstream.trouble}: this call may fail in the same way."] if upstream.trouble else []


def _bypassed(read: Read, call: Call) -> str:
    """Why the policy lets a read bypass the cache."""
    said, asked = read.said.get("bypass", ""), read.shown(call.body)
    if "CACHE_BYPASS_PER_PAGE" not in said or "per_page" not in asked:
        return f"The policy lets this read bypass the cache: its bypass is {' '.join(said.split())}"
    if "isPlain" in said and not is_plain(str(asked.get("model_type", ""))):
        return "The service may fold the case of its type differently from the proxy (letters like İ, ß and ς)."
    per_page = asked["per_page"]
    return (
        f"per_page is {per_page or 'not set, which means 20'}, and reads of CACHE_BYPASS_PER_PAGE or more bypass the "
        "cache: a caller that reads that many files may be about to delete what it finds."
    )


def _gap(gap: EventGap) -> list[str]:
    """What missing events mean for all entries; empty while events arrive, or if none are expected."""
    if gap.seconds is None:
        return []
    since = "have not arrived yet" if gap.seconds == math.inf else f"have been missing for {gap.seconds:.0f} s"
    served = f"stored answers are served for at most {gap.ttl:g} s from then or from their fetch, whichever is later"
    return [f"Media events {since}: {served}."]


def _absent(key: RequestKey, stored: Listing, *, reachable: bool) -> list[str]:
    """The result and the reasons when there is no fresh entry."""
    field = key.field.hex()
    entry = next((each for each in stored.entries if each.field == field), None)
    lease = next((each for each in stored.leases if each.field == field), None)
    reason = _of_entry(entry) if entry is not None else "Nothing is stored for this request."
    return [
        *_fetching(reason, lease, stored, reachable=reachable),
        *([] if entry is not None else _others(key, stored)),
    ]


_NOT_COUNTED = {
    "other run": "The stored answer is from before this Redis started or was promoted: it is not served.",
    "other clock": "The stored answer is dated in the future: Redis' clock has been set back since. It is not served.",
    "after outage": "Redis is back from an outage: answers from before it are served again after two seconds.",
}


def _of_entry(entry: ListedEntry) -> str:
    if entry.state in _NOT_COUNTED:
        return _NOT_COUNTED[entry.state]
    match entry.state:
        case "no events":
            return (
                "The stored answer would be fresh, but no media events arrive: CACHE_TTL_WITHOUT_EVENTS ended "
                f"{-(entry.ttl or 0.0):.0f} s ago."
            )
        case "stale" | "expired":
            return f"The stored answer expired {-(entry.ttl or 0.0):.0f} s ago."
        case "fresh":
            return "The stored bytes are damaged, or belong to another request."
        case _:
            return "This version of the proxy cannot read what is stored."


def _fetching(reason: str, lease: ListedLease | None, stored: Listing, *, reachable: bool) -> list[str]:
    """The result, the reason, and what would happen to the fetch if the service is `reachable`."""
    if stored.problem:
        return ["miss", reason, f"{stored.problem[0].upper()}{stored.problem[1:]}."]
    if stored.writes:
        why = "A write to this model is in progress, or its outcome is unknown: nothing is stored for up to"
        return ["miss", reason, f"{why} another {max(stored.writes):.0f} s."]
    if stored.closed_for:
        return [
            "miss",
            reason,
            f"An event has just invalidated it: nothing is stored for another {stored.closed_for:.2f} s.",
        ]
    if lease is not None and lease.this_run and lease.ttl > 0:
        return [
            "coalesced",
            reason,
            f"Another call has been fetching it for {lease.age:.1f} s: this one waits for its answer.",
        ]
    if not reachable:
        return ["miss", reason]
    unless = "unless it fails, is larger than CACHE_MAX_ENTRY_BYTES, or its presigned URLs are about to expire"
    return ["miss", reason, f"The call would fetch it and store the answer, {unless}."]


def _others(key: RequestKey, stored: Listing) -> list[str]:
    """What is stored for other requests of the model, which often explains an unexpected miss."""
    others = [each for each in stored.entries if each.collection is not None]
    if not others:
        return ["Nothing is stored for this model."] if not stored.entries else []
    shown = [
        f"{each.model_type} collection {each.collection!r} page {each.page} per_page {each.per_page}"
        + (" of a caller with vary-metadata" if each.by_caller else "")
        for each in others[:5]
    ]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return [f"Stored for this model: {'; '.join(shown)}{more}. For a hit, every field must be the same."]
