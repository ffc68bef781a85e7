"""`OwnWrites`: after a write through this proxy the next read is fresh, with or without events.

A *write intent* is set before the write is forwarded, and cleared after its answer. While it is set, no lease is given,
so neither a crash between upstream's commit and the second invalidation nor a commit after our deadline leaves
outdated entries:
    1. invalidate, and set the intent
    2. forward
    3. invalidate again, and clear the intent; if upstream may still commit, keep the intent for 30 s instead, and
       repeat the invalidation at the end of that time
    4. answer
Step 3 is carried out for every outcome, and cannot be cancelled.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from grpc import StatusCode

from proxy.caching.held import MOST_HELD, Intent
from proxy.caching.invalidations import Invalidations
from proxy.calls.call import Call, Handler, Reply
from proxy.calls.tags import UNDESCRIBED, Description
from proxy.store.model_hash import LONGEST_INTENT_MS
from proxy.store.redis_node import Budget, new_token

UNKNOWN_OUTCOME = 30.0
"""Seconds that the intent of a write with an unknown outcome stands."""
_LONGEST_INTENT = LONGEST_INTENT_MS / 1000
_INTENT_MARGIN = 5.0

_SETTLED = frozenset(
    {
        StatusCode.OK,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNIMPLEMENTED,
    }
)
"""The statuses that only the service itself sends, when it is done with a write. Others may come before it commits."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write through this proxy: the call, and the tags that it changes."""

    call: Call
    tags: tuple[str, ...]
    succeeded: Callable[[bytes, bool], bool]
    """Whether an OK answer means a change; the second argument is returned if the answer cannot be read."""
    about: Description = UNDESCRIBED
    budget: Budget = field(default_factory=Budget)
    """How much of this call's time Redis may still take."""
    unknown: str = ""
    """Why not all tags could be found, so that a flush follows if the write is done; empty if all were found."""
    share: str = ""
    """The service whose answers are then flushed; empty means all services."""
    announced: bool = False
    """An event should follow if it succeeds."""
    unreadable: bool = False
    """The request cannot be parsed. Upstream should refuse it; if it accepts it, nobody knows what it changed."""


class OwnWrites:
    """Carries out writes, and owns the tasks that end them even if their callers are gone."""

    def __init__(self, invalidations: Invalidations) -> None:
        self._invalidations = invalidations
        self._ends: set[asyncio.Task[None]] = set()
        self._repeats: dict[bytes, tuple[asyncio.TimerHandle, tuple[str, ...]]] = {}
        self.succeeded: Callable[[float, tuple[str, ...], bytes], None] = lambda began, tags, intent: None
        """Called for each announced write that certainly succeeded: with when it began, by `time.monotonic`, its tags
        and its intent."""

    async def carry_out(self, write: Write, forward: Handler) -> Reply:
        """Forwards a write with `forward`, between its two invalidations, and returns upstream's reply."""
        intent = new_token()
        forwarded = False
        reply: Reply | None = None
        try:
            await self._invalidate(write, _until(intent, _life(write.call), announced=write.announced), None)
            forwarded, began = True, time.monotonic()
            reply = await forward(write.call)
            if write.announced and reply.ok and write.succeeded(reply.body or b"", False):
                self.succeeded(began, write.tags, intent)
        finally:
            known = not forwarded or (reply is not None and reply.code in _SETTLED)
            await self._shielded(self._end(write, intent, reply, known=known))
        return reply

    async def close(self) -> None:
        """Waits for the ends of writes, each of which is bounded in time; repeats that were due later are held now."""
        await asyncio.gather(*self._ends, return_exceptions=True)
        for handle, tags in self._repeats.values():
            handle.cancel()
            for tag in tags:
                self._invalidations.invalidate_soon(tag)
        self._repeats.clear()

    async def _end(self, write: Write, intent: bytes, reply: Reply | None, *, known: bool) -> None:
        if write.unknown and (
            (not known and not write.unreadable)
            or (reply is not None and reply.ok and write.succeeded(reply.body or b"", True))
        ):
            self._invalidations.flush_soon(write.unknown, write.share)
        if not write.tags:
            return
        life = 0.0 if known else UNKNOWN_OUTCOME
        if not known:
            self._repeat_later(write.tags, intent)
        await self._invalidate(write, _until(intent, life), write.about)

    async def _invalidate(self, write: Write, intent: Intent, ended: Description | None) -> None:
        """Invalidates the tags of a write concurrently, and sets or clears the intent on each. `ended` describes a
        write that was answered.
        """
        if len(write.tags) == 1:
            await self._invalidations.own_write(write.tags[0], intent, write.budget, ended=ended)
        elif write.tags:
            budgets = [Budget(write.budget.left) for _ in write.tags]
            asked = zip(write.tags, budgets, strict=True)
            try:
                await asyncio.gather(
                    *(self._invalidations.own_write(tag, intent, budget, ended=ended) for tag, budget in asked)
                )
            finally:
                write.budget.left = min(budget.left for budget in budgets)

    async def _shielded(self, end: Coroutine[None, None, None]) -> None:
        """Runs the end of a write as a task of its own, so that it goes on if the caller leaves."""
        task = asyncio.get_running_loop().create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        await asyncio.shield(task)

    def _repeat_later(self, tags: tuple[str, ...], intent: bytes) -> None:
        if len(self._repeats) >= MOST_HELD:
            self._invalidations.flush_soon(f"more than {MOST_HELD} writes with an unknown outcome", "")
            return

        def repeat() -> None:
            del self._repeats[intent]
            for tag in tags:
                self._invalidations.invalidate_soon(tag)

        handle = asyncio.get_running_loop().call_later(UNKNOWN_OUTCOME, repeat)
        self._repeats[intent] = (handle, tags)


def _until(intent: bytes, seconds: float, *, announced: bool = False) -> Intent:
    return Intent(intent, time.monotonic() + seconds, announced)


def _life(call: Call) -> float:
    """Seconds that the intent of a write stands unless it is cleared."""
    if call.deadline is None:
        return _LONGEST_INTENT
    return min(max(0.0, call.deadline - time.monotonic()) + _INTENT_MARGIN, _LONGEST_INTENT)
