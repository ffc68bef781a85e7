"""`Node`: one Redis server as the cache sees it: its links, its breaker, its clock, and what an outage leaves behind.

Outage rule: after an outage that this process saw, entries born before its end count as absent for 2 s, so that the
invalidations which other processes hold back land first.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store.breaker import Breaker
from proxy.store.redis_link import REDIRECTIONS, Link, Reply, history_of
from proxy.store.redis_replicas import ReplicatedWrites, UnansweredError, ignored
from proxy.store.redis_waits import Waits
from proxy.store.server_clock import ServerClock
from proxy.telemetry import tracing

log = logging.getLogger(__name__)

CALL_BUDGET = 0.050
"""Seconds that Redis may add to one call, in total."""
_QUARANTINE = 2.0
_PING_CLOSED, _PING_OPEN = 1.0, 0.1
_DEAD_AFTER = 2.0
_LARGEST_VALUE = 4 << 20  # bytes that can be expected to arrive within a call's budget
_RESERVE = 0.010  # of the budget, kept for the command after this one
_SAMPLE_EVERY = 0.005
_TURNS = 4  # of the event loop, from queueing a request to waking its caller


@dataclass(slots=True)
class Budget:
    """What is left of the time that Redis may take from one call, in seconds."""

    left: float = CALL_BUDGET


@dataclass(slots=True)
class _Outage:
    """Since when nothing can be relied on; `min_born_ms` and `until` apply once it is over."""

    seen: bool = False
    min_born_ms: int = 0
    until: float = 0.0


@dataclass(slots=True)
class Node:
    """Runs while `run` runs. `changed` is told True and False as the node becomes usable and unusable."""

    make: Callable[[], AbstractConnection]
    scripts: Sequence[bytes]
    changed: Callable[[bool, str], None]
    name: str = ""
    breaker: Breaker = field(default_factory=Breaker)
    _clock: ServerClock = field(default_factory=ServerClock)
    _sampled_at: float = 0.0
    _outage: _Outage = field(default_factory=_Outage)
    _link: Link = field(init=False)
    _writes: ReplicatedWrites = field(init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self._link = Link(self.make, self.scripts)
        self._writes = ReplicatedWrites(self.make, self.scripts)
        self._waits = Waits(lambda: self._link.read_at)

    @property
    def usable(self) -> bool:
        """Connected, answering, and quick enough to be worth asking."""
        return self.breaker.closed and self._link.connected.is_set()

    @property
    def run_id(self) -> bytes:
        """Of the server process behind the present connection."""
        return self._link.run_id

    @property
    def trouble(self) -> str:
        """Why there is no connection now, or what our user may not do on it and what to grant; empty: nothing."""
        if not self._link.connected.is_set():
            return self._link.failure
        return self._link.permissions.missing or self._writes.denied

    def now_ms(self) -> float:
        """This server's clock, by its quickest ping."""
        return self._clock.now_ms(time.monotonic())

    def min_born_ms(self) -> int:
        """Entries born before this count as absent; 0 outside the two seconds after an outage."""
        outage = self._outage
        if outage.min_born_ms and time.monotonic() >= outage.until:
            outage.min_born_ms = 0
        return outage.min_born_ms

    def send(self, *command: bytes, batch: int = 1) -> Reply:
        """Queues a command that nobody waits for and answers with its future, even while the breaker is open: a lease
        is given back whenever it can be. RedisUnavailableError when there is no connection.

        `batch`: how many commands its span stands for, this one the last; 0: another one's stands for it.
        """
        reply = self._link.request(*command)
        if batch:
            tracing.redis_sent(command, self._link.peer, reply, batch)
        return reply

    async def ask(self, budget: Budget, *command: bytes, asking: bool = False) -> object:
        """One command within what is left of the budget. RedisUnavailableError also when Redis refuses. `asking`: an
        ASK reply sent us here.
        """
        self._require_usable(budget)
        with tracing.redis_span(command, self._link.peer):
            if asking:
                self._link.request(b"ASKING").add_done_callback(ignored)
            reply = self._link.request(*command)
            begun = time.monotonic()
            self._waits.begin(reply, begun, begun + _share(budget))
            try:
                answer = await reply
            except ClusterDownError as error:
                raise self._cluster_down(error) from None
            except (RedisRefusedError, *REDIRECTIONS):
                self._answered(begun, time.monotonic(), budget)
                raise
            except RedisUnavailableError as error:
                budget.left -= time.monotonic() - begun
                self._failed(str(error))
                raise
            finally:
                self._waits.end(reply)
            self._answered(begun, time.monotonic(), budget)
            return answer

    def shed(self, key: bytes, field: bytes) -> None:
        """Removes a hash's field when it is so large that it may be why no answer came in time: bytes that somebody
        else left there must not open the breaker at each read of them.
        """

        def measured(size: Reply) -> None:
            length = None if size.cancelled() or size.exception() else size.result()
            if isinstance(length, int) and length > _LARGEST_VALUE and self._link.connected.is_set():
                self.send(b"HDEL", key, field).add_done_callback(ignored)

        if self._link.connected.is_set():
            self.send(b"HSTRLEN", key, field).add_done_callback(measured)

    async def write(self, budget: Budget, *command: bytes, asking: bool = False) -> object:
        """One invalidation, done once all replicas that are online have it."""
        if not self._writes.replicas:
            return await self.ask(budget, *command, asking=asking)
        self._require_usable(budget)
        with tracing.redis_span(command, self._link.peer):
            begun = time.monotonic()
            try:
                return await self._writes.write(budget.left, *command, asking=asking)
            except ClusterDownError as error:
                raise self._cluster_down(error) from None
            except UnansweredError as error:
                self._failed(str(error))
                raise
            finally:
                budget.left -= time.monotonic() - begun

    def _require_usable(self, budget: Budget) -> None:
        if not self.breaker.closed:
            raise RedisUnavailableError(self.breaker.reason or self._link.failure)
        if budget.left <= 0:
            raise RedisUnavailableError(f"Redis took all of the {CALL_BUDGET * 1000:g} ms a call grants it")

    async def run(self) -> None:
        """Connects, pings and reconnects until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(self._up, self._down))
            tasks.create_task(self._ping())
            tasks.create_task(self._writes.run())
            tasks.create_task(self._waits.watch())

    def drop(self, reason: str) -> None:
        """Gives the connections up and makes new ones (a demoted master, a lost slot)."""
        self._link.drop(reason)
        self._writes.drop(reason)

    async def _ping(self) -> None:
        while True:
            if self._link.connected.is_set():
                await self._ping_once()
            try:
                async with asyncio.timeout(_PING_CLOSED if self.breaker.closed else _PING_OPEN):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _ping_once(self) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_DEAD_AFTER):
                now, info, *cluster = await asyncio.gather(*[self._link.request(*probe) for probe in self._probes()])
        except TimeoutError:
            self._failed(f"no answer within {_DEAD_AFTER:g} s")
            self._link.drop(self.breaker.reason)
            return
        except (RedisUnavailableError, *REDIRECTIONS):
            return
        ended = time.monotonic()
        took = ended - begun
        if isinstance(now, list) and isinstance(info, bytes):
            if b"role:master" not in info:
                self.drop("this Redis is a read-only replica now")
                return
            if self._link.history and history_of(info) != self._link.history:
                # It was a replica for a moment, or has its first one; only a new connection learns what counts now.
                self.drop("this Redis began another replication history")
                return
            self._clock.pinged(int(now[0]) * 1000 + int(now[1]) / 1000, begun, ended)
            self._writes.replicas = info.count(b"state=online")
        if any(isinstance(state, bytes) and b"cluster_state:ok" not in state for state in cluster):
            self._failed("the cluster is down")
        elif self.breaker.pinged(took):
            self._recovered(time.monotonic())

    def _probes(self) -> tuple[tuple[bytes, ...], ...]:
        own = ((b"TIME",), (b"INFO", b"replication"))
        return (*own, (b"CLUSTER", b"INFO")) if self.name else own

    def _up(self) -> None:
        self._clock.forget()
        self._wake.set()

    def _down(self, reason: str) -> None:
        self._outage.seen = True
        if self.breaker.failed(reason) or self.breaker.reason == "not connected yet":
            self.breaker.reason = reason
            self.changed(False, reason)

    def _cluster_down(self, error: ClusterDownError) -> RedisUnavailableError:
        """The node answers, its cluster does not: an outage, until a ping sees the cluster's state as ok."""
        self._failed(f"the cluster is down: {error}")
        return RedisUnavailableError(str(error))

    def _failed(self, reason: str) -> None:
        self._outage.seen = True
        if self.breaker.failed(reason):
            self.changed(False, reason)
            self._wake.set()

    def _answered(self, begun: float, now: float, budget: Budget) -> None:
        """Spends the budget, and now and then samples how quick Redis is, our own lateness taken off."""
        budget.left = max(budget.left - (now - begun), _RESERVE)
        if now - self._sampled_at < _SAMPLE_EVERY:
            return
        self._sampled_at = now
        if self.breaker.answered(now - begun - self._waits.lag * _TURNS):
            self.changed(False, self.breaker.reason)
            self._wake.set()

    def _recovered(self, now: float) -> None:
        if self._outage.seen:
            end_ms = self.now_ms() + self._clock.error_ms(now)  # at the latest
            self._outage = _Outage(min_born_ms=math.ceil(end_ms), until=now + _QUARANTINE)
        self.changed(True, "")


def _share(budget: Budget) -> float:
    """How long this command may take, in seconds."""
    return budget.left - _RESERVE if budget.left > 2 * _RESERVE else budget.left


def new_token() -> bytes:
    """A random id for a lease, a mark or an intent."""
    return uuid4().hex.encode()
