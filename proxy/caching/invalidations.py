"""`Invalidations`: loses no invalidation. One that Redis does not confirm at once is held and retried until it does;
meanwhile this process forwards reads of its tag.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from proxy.caching import invalidation_requests
from proxy.caching.confirmed import Confirmed
from proxy.caching.held import Flush, Held, HeldTag, Intent
from proxy.calls.tags import UNDESCRIBED, Description, kind_of
from proxy.errors import RedisUnavailableError
from proxy.retry import jittered
from proxy.store.redis_node import Budget

log = logging.getLogger(__name__)

EVENT_WINDOW = 0.100
"""Seconds for which nothing is stored for a model after its event, unless a setting says otherwise: an origin may
publish before it commits. An own write is answered after its commit; it only needs a window if the origin's reads lag
behind its commits."""
_RETRY_TIMEOUT = 1.0
_LAST_TRY_TIMEOUT = 1.5
_RETRIES_AT_ONCE = 64
_FLUSH_EVERY = 5.0
_RETRIED_AT_LEAST_EVERY = 0.25

_RENEWED = "Redis has a new master or its clock was set back, so stored answers may be outdated"


class Store(invalidation_requests.Store, Protocol):
    """What invalidating needs from Redis; see `RedisStore`."""

    async def flush(self, services: Collection[str] = ()) -> int: ...
    def on_renewal(self, again: Callable[[float | None], None]) -> None: ...


class Observer(Protocol):
    """What counts invalidations."""

    def invalidation(self, source: str, lag_seconds: float | None) -> None: ...
    def invalidations_pending(self, count: int) -> None: ...


class Journal(Protocol):
    """What remembers the last invalidations and flushes."""

    def invalidated(self, tag: str, source: str, about: Description) -> None: ...
    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None: ...


class Invalidations:
    """Invalidates, and owns the retries. Without a store (no Redis configured) there is nothing to invalidate."""

    def __init__(
        self,
        store: Store | None,
        observer: Observer,
        *,
        journal: Journal | None = None,
        wall_clock: Callable[[], float] = time.time,
        window: float = EVENT_WINDOW,
    ) -> None:
        """`window` is how long after an event nothing is stored for its model, in seconds."""
        self._store = store
        self._observer = observer
        self._journal = journal
        self._wall_clock = wall_clock
        self._event_window_ms = round(window * 1000)
        self._write_window_ms = self._event_window_ms if window > EVENT_WINDOW else 0
        self._held = Held(observer.invalidations_pending)
        self._confirmed = Confirmed()
        self._flush_began = float("-inf")
        self._renewal = 0
        """The number of the flush that a new master has made necessary."""
        self.concerned: Callable[[Collection[str]], Collection[str]] = tuple
        """Gives all services whose answers may depend on the tags of some services, as the policy says."""
        if store is not None:
            store.on_renewal(self.again)

    def held_back(self, tag: str, dependent: bool = False) -> bool:
        """Whether reads of this tag must not trust Redis now. A `dependent` read's answers may depend on any other tag,
        so it must not while anything is held.
        """
        return tag in self._held or (dependent and self._held.count > 0)

    @property
    def pending(self) -> int:
        """How many tags are held; a flush that is wanted or under way counts as one."""
        return self._held.count

    @property
    def flush_wanted(self) -> Flush | None:
        """The flush that is wanted or under way."""
        return self._held.flush

    async def invalidate(
        self, tag: str, *, source: str, about: Description = UNDESCRIBED, sent_at: float | None = None
    ) -> None:
        """Removes everything under a tag, and returns only once Redis has confirmed it.

        `sent_at` is when the invalidation was sent, in seconds since 1970. `about` is what log lines call it.
        """
        if self._store is None:
            return
        window_ms = self._event_window_ms if source == "event" else 0
        if not await self._attempt(self._store, tag, Budget(), window_ms=window_ms):
            await self._held.taken(tag)
        if self._renewal:
            # Otherwise entries would stay that depend on this tag without the new master knowing it.
            await self._held.flushed(self._renewal)
        self._report(tag, source, about, sent_at)

    async def invalidate_all(self, tags: Iterable[str], *, source: str, about: Description) -> None:
        """Invalidates several tags, one after the other."""
        for tag in tags:
            await self.invalidate(tag, source=source, about=about)

    async def flush(self, reason: str, *, source: str = "event", service: str = "") -> None:
        """Removes everything in the namespace, or of one service; returns only once every master has confirmed it."""
        if self._store is not None:
            await self._held.flushed(self._held.want_flush(reason, due=0.0, source=source, service=service))

    async def flush_in_time(self, reason: str, service: str = "") -> None:
        """The flush after an event: like `flush`, but at most every 5 s; until then every read here bypasses."""
        if self._store is not None:
            due = self._flush_began + _FLUSH_EVERY
            await self._held.flushed(self._held.want_flush(reason, due=due, source="event", service=service))

    def flush_soon(self, reason: str, service: str = "") -> None:
        """The flush after a write: only asks for it, at most every 5 s; until then every read here bypasses."""
        if self._store is not None:
            self._held.want_flush(reason, due=self._flush_began + _FLUSH_EVERY, source="write", service=service)

    async def own_write(self, tag: str, intent: Intent, budget: Budget, *, ended: Description | None = None) -> None:
        """Removes everything under a tag, and sets or clears the intent of an own write, within the budget.

        `ended` describes a write that was answered; it is None before the write is forwarded.
        """
        if self._store is None:
            return
        self._held.amend(tag, intent)
        window_ms = self._write_window_ms if ended is not None else 0
        taken = await self._attempt(self._store, tag, budget, window_ms=window_ms, intent=intent, unreported=ended)
        if taken and ended is not None:
            self._report(tag, "write", ended, None)

    def invalidate_soon(self, tag: str) -> None:
        """Asks for the removal of everything under a tag; its reads bypass until Redis has confirmed it."""
        if self._store is not None:
            self._held.hold(tag)

    def again(self, since: float | None) -> None:
        """Repeats on a new Redis master what was confirmed since `since`, by `time.monotonic`; the tags bypass until
        then. With None, everything is flushed.
        """
        lately = None if since is None else self._confirmed.since(since)
        if lately is None:
            self._renewal = self._held.want_flush(_RENEWED, due=0.0, source="event")
            return
        for tag, confirmation in lately:
            for intent in confirmation.orders():
                self._held.hold(tag, window_ms=confirmation.window_ms, intent=intent)

    async def run(self) -> None:
        """Retries what is held, until cancelled."""
        pauses = jittered(_RETRIED_AT_LEAST_EVERY / 8, _RETRIED_AT_LEAST_EVERY)
        while True:
            await self._held.wanted.wait()
            if not await self._round():
                await asyncio.sleep(next(pauses))
                continue
            pauses = jittered(_RETRIED_AT_LEAST_EVERY / 8, _RETRIED_AT_LEAST_EVERY)
            if self.pending and not self._held.tags:
                await asyncio.sleep(_RETRIED_AT_LEAST_EVERY)  # only a flush that is not due yet

    async def close(self) -> None:
        """Tries once more what is left, also a flush that is not due yet, within 1.5 s."""
        self._held.hurry()
        with contextlib.suppress(TimeoutError):  # what is left is logged below
            async with asyncio.timeout(_LAST_TRY_TIMEOUT):
                await self._round()
        if self.pending:
            log.warning("stopping with invalidations that Redis has not confirmed", extra={"pending": self.pending})

    async def _attempt(
        self,
        store: Store,
        tag: str,
        budget: Budget,
        *,
        window_ms: int = 0,
        intent: Intent | None = None,
        unreported: Description | None = None,
    ) -> bool:
        """Tries once within the budget; False if Redis has not confirmed it, so that it is held."""
        begun = time.monotonic()
        try:
            left = await invalidation_requests.ask(store, tag, budget.left, window_ms, intent)
            if left is not None:
                time_left = budget.left - (time.monotonic() - begun)
                await invalidation_requests.remove(store, tag, left, time_left, self._held, self._confirmed)
        except RedisUnavailableError:
            self._held.hold(tag, window_ms=window_ms, intent=intent, unreported=unreported)
            return False
        except asyncio.CancelledError:
            self._held.hold(tag, window_ms=window_ms, intent=intent)  # it may or may not have arrived
            raise
        finally:
            budget.left -= time.monotonic() - begun
        self._confirmed.invalidated(tag, window_ms=window_ms, intents=() if intent is None else (intent,))
        return True

    async def _round(self) -> bool:
        """Asks Redis once for what is held and due; False if it did not take all of it.

        One of several masters may be away, and its tags must not delay the others'. A round ends when a whole batch
        fails, since then most likely all of Redis is away.
        """
        all_taken = await self._flush_if_due()
        tags = self._held.tags
        for at in range(0, len(tags), _RETRIES_AT_ONCE):
            taken = await asyncio.gather(*(self._retry(tag) for tag in tags[at : at + _RETRIES_AT_ONCE]))
            all_taken = all_taken and all(taken)
            if not any(taken):
                break
        return all_taken

    async def _retry(self, tag: str) -> bool:
        held = self._held.find(tag)
        if held is None or self._store is None:
            return True
        asked = held.asked
        try:
            # An event is sent without any intent: with a write's intent it would not settle the note of a due event.
            for intent in ((b"",) if held.window_ms or not held.intents else ()) + tuple(held.intents):
                # Looked up only now, since its write may have ended while the intents before it were sent.
                order = Intent(intent, held.intents.get(intent, 0.0)) if intent else None
                left = await invalidation_requests.ask(self._store, tag, _RETRY_TIMEOUT, held.window_ms, order)
                if left is not None:
                    await invalidation_requests.remove(
                        self._store, tag, left, _RETRY_TIMEOUT, self._held, self._confirmed
                    )
        except RedisUnavailableError:
            self._held.postpone(tag)
            return False
        told = [Intent(name, until) for name, until in held.intents.items()]
        self._confirmed.invalidated(tag, window_ms=held.window_ms, intents=told)
        self._taken(tag, held, asked)  # if it was asked for again meanwhile, the next round does it
        return True

    async def _flush_if_due(self) -> bool:
        """Flushes if it is due. That settles what was held before the flush began, but nothing asked for during it."""
        now = time.monotonic()
        number = self._held.begin_flush(now)
        if not number or self._store is None:
            return True
        reason, source, held_before = self._held.flush_reason, self._held.flush_source, self._held.asked()
        self._flush_began, done, services = now, False, self._held.flush_share or ()
        others = sorted(set(self.concerned(services)) - set(services))
        try:
            removed = await self._store.flush((*services, *others))
            self._confirmed.flushed()
            done = True
        except RedisUnavailableError:
            return False
        finally:
            self._held.end_flush(number, done=done)
        for tag, held, asked in () if services else held_before:
            if not held.intents:  # a tag's intents must still be sent
                self._taken(tag, held, asked)
        self._observer.invalidation(source, None)
        if self._journal is not None:
            self._journal.flushed(reason, removed, services)
        whose = {"service": ", ".join(sorted(services)), "tags": removed} if services else {"models": removed}
        also = {"also": others} if others else {}
        log.info(
            "%s was flushed",
            "the cache of a service" if services else "the whole cache",
            extra={"reason": reason, **whose, **also},
        )
        return True

    def _taken(self, tag: str, held: HeldTag, asked: int) -> None:
        unreported = held.unreported
        if self._held.done(tag, held, asked) and unreported is not None:
            self._report(tag, "write", unreported, None)

    def _report(self, tag: str, source: str, about: Description, sent_at: float | None) -> None:
        lag = None if sent_at is None else max(0.0, self._wall_clock() - sent_at)
        self._observer.invalidation(source, lag)
        if self._journal is not None:
            self._journal.invalidated(tag, source, about)
        if log.isEnabledFor(logging.DEBUG):
            subject = about.subject or kind_of(tag)
            log.debug("Invalidated %s cache", subject, extra={**about.to_say_of(tag), "source": source})
