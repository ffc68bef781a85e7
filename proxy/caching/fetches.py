"""`Fetches`: how a miss becomes an answer, depending on what the lease script granted (`Grant`).

lease   this call leads: its flight fetches (`miss`), stores the answer, and can be joined until Redis has it
held    another call leads: if in this process, the call joins its flight (`coalesced`); if in another process, one
        flight here waits up to 150 ms for its fill, takes an expired lease over, or fetches without storing
closed  an invalidation has just been applied, or a write is in progress: reads with the same mark share a fetch
        that stores nothing
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from grpc import StatusCode

from proxy.caching import vetting
from proxy.caching.fetch_metadata import carried
from proxy.caching.flight import Flight, Flights, Token
from proxy.caching.origin import longest_ttl
from proxy.caching.policy import Policy
from proxy.caching.vetting import Vetting
from proxy.calls.call import Call, Handler, Reply
from proxy.calls.keys import RequestKey
from proxy.calls.reads import Excess, Verdict
from proxy.calls.statuses import FORBIDDEN, status_verdict
from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import Budget
from proxy.store.redis_store import Grant

log = logging.getLogger(__name__)

_FILL_WAIT = 0.150
"""Seconds that a read waits for the fill of another process' fetch."""
_FIRST_POLL, _POLL_GROWTH, _LONGEST_POLL = 0.004, 1.5, 0.025
_CLOCK_TOLERANCE = 0.020
"""Seconds. gRPC ends a call at its deadline by a clock of its own, which may differ from ours by this much."""

Result = Literal["hit", "miss", "stale", "coalesced", "bypass"]


@dataclass(slots=True)
class Answer:
    """A reply, and where it came from."""

    reply: Reply
    result: Result
    age: int | None = None
    """Whole seconds by Redis' clock; None if it did not come out of the cache."""
    cut: bool = False
    """The leading caller's deadline ended the fetch: a call that joined and has time left asks again."""
    shared: bool = True
    """Whether calls that joined may have it; see `Vetting`."""


class Store(vetting.Store, Protocol):
    """What fetching needs from Redis; see `RedisStore`."""

    async def acquire(self, key: RequestKey, budget: Budget, *, take_over: bool = False) -> Grant: ...
    def fill(
        self, key: RequestKey, grant: Grant, body: bytes, verdict: Verdict, jitter: float
    ) -> asyncio.Future[object] | None: ...
    def release(self, key: RequestKey, grant: Grant) -> asyncio.Future[object] | None: ...


class Observer(vetting.Observer, Protocol):
    """What counts fetches."""

    def fetch_started(self) -> None: ...
    def fetch_ended(self) -> None: ...
    def entry_bytes(self, size: int) -> None: ...


@dataclass(slots=True)
class _Lease:
    """The right to store one answer. It ends once: it is used, or given back so that the next reader need not wait."""

    store: Store
    key: RequestKey
    grant: Grant
    over: bool = False

    def fill(self, body: bytes, verdict: Verdict, jitter: float) -> asyncio.Future[object] | None:
        self.over = True
        return self.store.fill(self.key, self.grant, body, verdict, jitter)

    def ends_with(self, flight: Flight[Answer]) -> None:
        """Gives the lease back however the flight ends, even if it is cancelled before its first step."""
        if flight.task is not None:
            flight.task.add_done_callback(lambda _: self._give_back())

    def _give_back(self) -> None:
        if not self.over:
            self.over = True
            self.store.release(self.key, self.grant)


class Fetches:
    """Owns the flights of one process."""

    def __init__(self, fetch: Handler, policy: Policy, *, observer: Observer, random: Callable[[], float]) -> None:
        self._fetch = fetch
        self._policy = policy
        self._observer = observer
        self._random = random
        self._flights: Flights[Answer] = Flights()
        self._vetting = Vetting(observer)

    def __len__(self) -> int:
        """The number of flights under way."""
        return len(self._flights)

    async def answer(
        self, store: Store, call: Call, key: RequestKey, grant: Grant, budget: Budget, *, alone: bool = False
    ) -> Answer:
        """The answer to a call with this grant (anything but `found`); with `alone`, it must not join a flight."""
        if grant.kind == "closed" and (alone or not grant.token):
            return Answer(await self._fetch(call), "miss")
        token = (key.hash_key, key.field, grant.run_id + grant.token)
        flight = self._flights.find(token)
        if flight is not None:
            return await self._joined(call, flight)
        call = carried(call, key)  # other callers may get this answer
        if grant.kind == "lease":
            flight = self._lead(call, _Lease(store, key, grant), budget, token)
        elif grant.kind == "closed":
            flight = self._flights.start(token, lambda own: self._fetch_only(store, call, key, budget, own))
        else:
            flight = self._flights.start(token, lambda own: self._await_fill(store, call, key, budget, own))
        return await flight.wait()

    async def close(self) -> None:
        """Cancels the flights under way."""
        await self._flights.close()

    async def _joined(self, call: Call, flight: Flight[Answer]) -> Answer:
        answer = await flight.wait()
        if not answer.shared or answer.reply.code is StatusCode.INVALID_ARGUMENT:
            # Most likely the leader's own metadata could not be forwarded, which says nothing about this call's.
            return Answer(await self._fetch(call), "miss")
        return _shared(answer)

    def _lead(self, call: Call, lease: _Lease, budget: Budget, token: Token) -> Flight[Answer]:
        flight = self._flights.start(token, lambda own: self._fetch_and_fill(call, lease, budget, own))
        lease.ends_with(flight)
        return flight

    async def _fetch_and_fill(self, call: Call, lease: _Lease, budget: Budget, flight: Flight[Answer]) -> None:
        """The leaseholder's flight: fetches, lands and stores; it can be joined until Redis has the answer."""
        verdict, body = await self._fetch_and_land(lease.store, call, lease.key, budget, flight)
        # 1. Nothing is awaited between the landing and this write, so the caller's next read comes after it on the same
        #    connection and finds the answer.
        if isinstance(verdict, str):
            _log_not_stored(lease.key, verdict)
            return
        done = lease.fill(body, verdict, self._random())
        # 2. Until Redis has it, other reads may still be given this token: they join and have the answer at once.
        if done is not None:
            await asyncio.wait([done])
        refused = _refusal(done)
        if refused:
            _log_not_stored(lease.key, refused)
        else:
            self._observer.entry_bytes(len(body))

    def _verdict(self, call: Call, key: RequestKey, reply: Reply) -> Verdict | str:
        """How an answer may be stored, or the reason why it may not be."""
        if not reply.ok or reply.body is None:
            return status_verdict(key.read.limits, reply, longest_ttl(reply))
        if len(reply.body) > self._policy.largest(key.read.limits):
            return "it is larger than CACHE_MAX_ENTRY_BYTES"
        longest = longest_ttl(reply)
        if longest == 0:
            return FORBIDDEN
        verdict = key.read.storable(call.body, reply.body, self._policy.ttl_temporary_credentials)
        return verdict if longest is None or isinstance(verdict, str) else replace(verdict, longest_ttl=longest)

    async def _fetch_only(
        self, store: Store, call: Call, key: RequestKey, budget: Budget, flight: Flight[Answer]
    ) -> None:
        """A flight that stores nothing; reads that were given the same mark share it."""
        await self._fetch_and_land(store, call, key, budget, flight)

    async def _await_fill(
        self, store: Store, call: Call, key: RequestKey, budget: Budget, flight: Flight[Answer]
    ) -> None:
        """The flight while another process fetches: looks until its fill is there, its lease is ours, or time is up."""
        until, pause = time.monotonic() + _FILL_WAIT, _FIRST_POLL
        while time.monotonic() + pause < until:
            await asyncio.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)
            try:
                grant = await store.acquire(key, budget)
            except RedisUnavailableError:
                break
            if grant.found is not None:
                flight.land(Answer(grant.found.entry.reply, "coalesced", grant.found.age))
                return
            if grant.kind == "lease":
                flight.also_known_as((key.hash_key, key.field, grant.run_id + grant.token))
                lease = _Lease(store, key, grant)
                lease.ends_with(flight)
                await self._fetch_and_fill(call, lease, budget, flight)
                return
            if grant.kind == "closed":
                break
        await self._fetch_only(store, call, key, budget, flight)

    async def _fetch_and_land(
        self, store: Store, call: Call, key: RequestKey, budget: Budget, flight: Flight[Answer]
    ) -> tuple[Verdict | str, bytes]:
        """Fetches and lands; returns how the answer may be stored, or the reason why not, and the answer's body."""
        began = time.monotonic()
        self._observer.fetch_started()
        try:
            reply = await self._fetch(call)
        finally:
            self._observer.fetch_ended()
        cut = reply.code is StatusCode.DEADLINE_EXCEEDED and _is_over(call)
        answer = Answer(reply, "miss", cut=cut)
        if not key.read.dependent:
            flight.land(answer)
            return self._verdict(call, key, reply), reply.body or b""
        answer.shared = False
        try:
            verdict = self._verdict(call, key, reply)
            if isinstance(verdict, Verdict):
                verdict = await self._vetting.refusal(store, key, verdict, began, budget) or verdict
            elif isinstance(verdict, Excess):
                self._vetting.excess(key, verdict)
            answer.shared = isinstance(verdict, Verdict)
        finally:
            flight.land(answer)
        return verdict, reply.body or b""


def _is_over(call: Call) -> bool:
    now = time.monotonic()
    return call.deadline is not None and now >= call.deadline - _CLOCK_TOLERANCE


def _shared(answer: Answer) -> Answer:
    """What calls that joined get: the message or the status, without the metadata that upstream sent to the leader."""
    reply = answer.reply
    details = tuple(pair for pair in reply.trailing_metadata if pair[0] == "grpc-status-details-bin")
    return Answer(Reply(reply.body, reply.code, reply.details, (), details), "coalesced", answer.age, answer.cut)


def subject(key: RequestKey) -> str:
    """What log lines call the answer to a read."""
    return key.about.subject or key.read.path[1:]


def _log_not_stored(key: RequestKey, why: str) -> None:
    """Logs at debug level why an answer is not stored, so that its call is a miss each time."""
    if log.isEnabledFor(logging.DEBUG):
        fields = {**key.about.to_say_of(key.tag), "reason": why}
        log.debug("Not stored for %s", subject(key), extra=fields)


def _refusal(done: "asyncio.Future[object] | None") -> str:
    """Why Redis has not stored an answer; empty if it has."""
    if done is None or done.cancelled() or done.exception() is not None:
        return "Redis could not store it"
    if done.result() != 1:
        return "it was invalidated meanwhile, or its presigned URLs are about to expire"
    return ""
