"""`Methods`: the methods that the proxy handles itself, which are the reads and the writes of a policy.

Reads go through the cache. Writes are forwarded by `OwnWrites`; this module finds out which tags they change.
"""

import logging
import time
from collections.abc import Mapping
from typing import Literal, Protocol, get_args

from google.protobuf.message import Message

from proxy.caching import policy_problems
from proxy.caching.cache import Cache
from proxy.caching.fetches import Answer, Result
from proxy.caching.outcome import Outcome, outcome
from proxy.caching.own_writes import OwnWrites, Write
from proxy.caching.policy_problems import PolicyProblems
from proxy.calls.call import Call, Handler, Metadata, Reply
from proxy.calls.reads import Read
from proxy.calls.tags import Description, Plain, kind_of, told_kind
from proxy.errors import RedisUnavailableError
from proxy.policy import compiled
from proxy.policy.failures import ExpressionError
from proxy.store.redis_node import Budget
from proxy.telemetry import tracing
from proxy.telemetry.log import RateLimit
from proxy.telemetry.popular import Popular

log = logging.getLogger(__name__)

_X_CACHE: dict[Result, tuple[str, str]] = {result: ("x-cache", result) for result in get_args(Result)}
_NOT_TOLD = "a write is forwarded although the policy cannot tell what it changes"
_UNREADABLE = "the service accepted a write that the proxy cannot parse"


class Aliases(Protocol):
    """Finds the tag of an alias that a fill has stored; see `RedisStore`."""

    async def tag_of(self, service: str, alias: str, budget: Budget) -> str | None: ...


class Observer(policy_problems.Observer, Protocol):
    """What counts calls and their results."""

    @property
    def popular(self) -> Popular: ...
    def request(self, method: str, result: Outcome, tier: Literal["redis", "none"], seconds: float) -> None: ...
    def answered(self, method: str, *, successful: bool) -> None: ...
    def shadow_difference(self) -> None: ...


class Methods:
    """Handlers for the routes of the listener: `read` for every read, `write` for every write."""

    def __init__(
        self,
        reads: Mapping[str, Read],
        writes: Mapping[str, compiled.Write],
        cache: Cache,
        own_writes: OwnWrites,
        fetch: Handler,
        aliases: Aliases | None,
        observer: Observer,
    ) -> None:
        """`reads` and `writes` are by path; `aliases` is None if there is no Redis."""
        self._reads = reads
        self._writes = writes
        self._cache = cache
        self._own_writes = own_writes
        self._fetch = fetch
        self._aliases = aliases
        self._observer = observer
        self._differences = RateLimit()
        self._policy_problems = PolicyProblems(observer)

    @property
    def routes(self) -> dict[str, Handler]:
        """The handlers of the methods answered here, by path; every other method is forwarded."""
        return {**dict.fromkeys(self._reads, self.read), **dict.fromkeys(self._writes, self.write)}

    async def read(self, call: Call) -> Reply:
        """Answers with trailing metadata `x-cache`, and `age` if the answer came out of the cache."""
        started, shadow = time.perf_counter(), self._cache.policy.mode == "shadow"
        answer = await (self._shadow(call) if shadow else self._cache.get(call))
        tier: Literal["redis", "none"] = "none" if answer.age is None else "redis"
        counted = outcome(answer, self._reads[call.method], call)
        self._observer.request(call.method, counted, tier, time.perf_counter() - started)
        if (tag := self._cache.tag_of(call)) is not None:
            self._observer.popular.read(tag, cached=answer.age is not None)
        if answer.age is None and answer.reply.ok and answer.result != "coalesced":
            self._observer.answered(call.method, successful=counted != "failure")
        tracing.answered(answer.result, None if tier == "none" else tier)
        ours: Metadata = (_X_CACHE[answer.result],)
        if answer.age is not None:
            ours = (*ours, ("age", str(answer.age)))
        reply = answer.reply
        # Made by hand: `dataclasses.replace` takes ten times as long.
        trailing = (*reply.trailing_metadata, *ours) if reply.trailing_metadata else ours
        return Reply(reply.body, reply.code, reply.details, reply.initial_metadata, trailing)

    async def write(self, call: Call) -> Reply:
        """Finds out which tags the write changes, and then forwards it; afterwards, what it names may be gone."""
        said = self._writes[call.method]
        if self._aliases is None and said.look_up is not None:
            return await self._fetch(call)  # no Redis: nothing to invalidate, so nothing to find out
        try:
            write = await self._understood(call, said)
        except ExpressionError as error:
            self._policy_problems.met(said.path, str(error), _NOT_TOLD)
            write = Write(
                call,
                (),
                said.succeeded,
                unknown=_UNREADABLE,
                share=said.share,
                unreadable=True,
                announced=said.announced,
            )
        if write.tags:
            tracing.about(told_kind(write.tags[0], write.about, said.kind))
        return await self._own_writes.carry_out(write, self._fetch)

    async def _understood(self, call: Call, said: compiled.Write) -> Write:
        """The write with its tags: those that its request names, and its alias' tag or those of its look-up."""
        request = said.requests.readable(call.body)
        tags, about, unknown, budget = said.invalidates(request), said.describe(request), "", Budget()
        alias = said.alias(request)
        if alias or said.look_up is not None:
            aliased = await self._aliased(said.service, alias, budget) if alias else None
            if aliased is not None:
                tags = (*tags, aliased)
            elif said.look_up is not None:
                found, more = await self._looked_up(call, said.look_up, request)
                tags, about = (*tags, *found), Description(about.subject, {**about.fields, **more})
                unknown = "" if found else said.flush_reason
            else:
                unknown = said.flush_reason
        return Write(call, tags, said.succeeded, about, budget, unknown, said.share, announced=said.announced)

    async def _looked_up(
        self, call: Call, look_up: compiled.LookUp, request: Message
    ) -> tuple[tuple[str, ...], Mapping[str, Plain]]:
        """The tags found by calling another method on behalf of this caller, and log fields about them.

        Both are empty if its answer cannot be used.
        """
        reply = await self._fetch(Call(look_up.path, look_up.request(request), call.metadata, call.deadline))
        try:
            found = look_up.tags(request, reply.body or b"")
            return found, look_up.describe(reply.body or b"") if found else {}
        except ExpressionError:
            return (), {}

    async def _aliased(self, service: str, alias: str, budget: Budget) -> str | None:
        if self._aliases is None:
            return None
        try:
            return await self._aliases.tag_of(service, alias, budget)
        except RedisUnavailableError:
            return None

    async def _shadow(self, call: Call) -> Answer:
        """Upstream's answer; the cache is filled as if it were on, and what would have been a hit is compared."""
        found = await self._cache.look_up(call)
        if found is None:
            return Answer(await self._cache.keep(call), "bypass")
        reply = await self._fetch(call)
        stored = found.entry
        if reply.ok and (stored.negative is not None or not self._same(call, stored.body, reply.body or b"")):
            # It only counts if a later read would still be served the entry: otherwise an invalidation was under way.
            again = await self._cache.look_up(call)
            if again is not None and again.entry == found.entry:
                self._observer.shadow_difference()
                self._log_difference(call, found.age)
        return Answer(reply, "bypass")

    def _same(self, call: Call, stored: bytes, fetched: bytes) -> bool:
        read = self._reads[call.method]
        return stored == fetched or read.comparable(stored) == read.comparable(fetched)

    def _log_difference(self, call: Call, age: int) -> None:
        """Logs a sample: one a minute for each method or described kind, with how many were suppressed."""
        asked = self._reads[call.method].asked(call.body)
        if asked is None:
            return
        kept_back = self._differences.admit(kind_of(asked.tag) if asked.about.fields else call.method)
        if kept_back is None:
            return
        fields = {**asked.about.to_say_of(asked.tag), "age": age}
        fields |= {"suppressed": kept_back} if kept_back else {}
        log.info("a hit would have differed from upstream's answer", extra=fields)
