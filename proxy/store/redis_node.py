"""`Node`: one Redis server as the cache sees it: commands within a call's time budget, and whether to use it at all."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, MasterDownError

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.store.redis_greeting import NOT_A_CLUSTER_ADDRESS
from proxy.store.redis_health import Health
from proxy.store.redis_link import Link, Reply, ignored
from proxy.store.redis_mastership import Mastership, Naming
from proxy.store.redis_pings import Pings, refusal
from proxy.store.redis_waits import Waits
from proxy.store.write_probe import WriteProbe
from proxy.telemetry import tracing

log = logging.getLogger(__name__)

CALL_BUDGET = 0.050
"""Seconds that Redis may add to one call, in total."""
_LARGEST_VALUE = 4 << 20  # bytes that can be expected to arrive within a call's budget
_RESERVE = 0.010  # of the budget, kept for the command after this one
FIRST_SHARE = CALL_BUDGET - _RESERVE
"""Of the budget, for the first command of a call."""
_SAMPLE_EVERY = 0.005
_TURNS = 4  # of the event loop, from queueing a request to waking its caller


@dataclass(slots=True)
class Budget:
    """What is left of the time that Redis may take from one call, in seconds."""

    left: float = CALL_BUDGET


@dataclass(slots=True)
class Node:
    """Runs while `run` runs. `changed` is told True and False as the node becomes usable and unusable, `renewed` when
    another server is master (see `Mastership`). `name` is that of a Cluster's node. Without `probe` it is not tried
    whether the server takes invalidations.
    """

    make: Callable[[], AbstractConnection]
    scripts: Sequence[bytes]
    changed: Callable[[bool, str], None]
    name: str = ""
    naming: Naming = field(default_factory=Naming)
    renewed: Callable[[float | None], None] = lambda since: None
    probe: WriteProbe | None = None
    health: Health = field(init=False)
    _sampled_at: float = 0.0
    _told_of_cluster: bool = False
    _link: Link = field(init=False)
    _mastership: Mastership = field(init=False)
    _pings: Pings = field(init=False)
    _waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self._link = link = Link(self.make, self.scripts, in_cluster=bool(self.name))
        wake = asyncio.Event()
        self.health = Health(self.changed, wake.set)
        self._mastership = Mastership(link, self.make, self.naming, self.renewed, self.health.refused)
        self._pings = Pings(link, self.health, self._mastership, self.probe, wake, in_cluster=bool(self.name))
        self._waits = Waits(lambda: link.read_at)

    @property
    def usable(self) -> bool:
        """Connected, answering, quick enough to be worth asking, and invalidated by whoever should."""
        return self.health.breaker.closed and self._link.connected.is_set()

    @property
    def run_id(self) -> bytes:
        """Of the server process behind the present connection."""
        return self._link.run_id

    @property
    def one_slot(self) -> bool:
        """Whether the keys of one script must be of one slot."""
        return bool(self.name) or (self._link.greeting is not None and self._link.greeting.in_cluster)

    @property
    def trouble(self) -> str:
        """Why it cannot be used now, or what our user may not do on it and what to grant, or that it is full; empty:
        nothing."""
        if not self._link.connected.is_set():
            return self._link.failure
        return self._link.permissions.missing or self.health.breaker.reason or self._link.fullness.trouble

    @property
    def master_since(self) -> float:
        """When this process first met the present master, of `time.monotonic`."""
        return self._mastership.since

    @property
    def evicts(self) -> bool:
        """Whether this server may evict keys, as far as it tells."""
        return self._pings.evicts

    def now_ms(self) -> float:
        """This server's clock, by its quickest ping."""
        return self.health.clock.now_ms(time.monotonic())

    def is_ahead(self, ms: int) -> bool:
        """Whether a time cannot have been yet, by this server's clock."""
        return self.health.clock.is_ahead(ms, time.monotonic())

    def min_born_ms(self) -> int:
        """Entries born before this count as absent; see `Health`."""
        return self.health.min_born_ms()

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
            reply, begun = self.begin(_share(budget), *command)
            try:
                return await reply
            except ClusterDownError as error:
                raise RedisUnavailableError(str(error)) from None
            finally:
                budget.left = self.ended(reply, begun, time.monotonic(), budget.left)

    def begin(self, seconds: float, *command: bytes) -> tuple[Reply, float]:
        """The first half of an `ask`, without a span: the reply, which fails with RedisUnavailableError after so many
        seconds, and when Redis was asked, by `time.monotonic`. `ended` follows once the reply was awaited.
        """
        reply = self._link.request(*command)
        begun = time.monotonic()
        self._waits.begin(reply, begun, begun + seconds)
        return reply, begun

    def ended(self, reply: Reply, begun: float, now: float, left: float) -> float:
        """What remains of a call's budget that had `left` seconds. Health learns from how the wait ended, but not from
        one that was given up. Now and then it learns how quick Redis is, without our own loop's lateness.
        """
        self._waits.end(reply)
        if not reply.done() or reply.cancelled():
            return left
        error = reply.exception()
        spent = now - begun
        if error is not None:
            if isinstance(error, ClusterDownError):
                # The node answers, its cluster does not: an outage, until a ping sees the cluster's state as ok.
                self.health.failed(
                    str(error) if isinstance(error, MasterDownError) else f"the cluster is down: {error}"
                )
                return left
            if isinstance(error, RedisUnavailableError) and not isinstance(error, RedisRefusedError):
                self.health.failed(str(error))
                return left - spent
        if now - self._sampled_at >= _SAMPLE_EVERY:
            self._sampled_at = now
            self.health.answered(spent - self._waits.lag * _TURNS)
        return max(left - spent, _RESERVE)

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
        """One invalidation, done once this server was seen to be the master after it."""
        run_id = self._link.run_id
        try:
            answer = await self.ask(budget, *command, asking=asking)
        except RedisRefusedError as error:
            self.health.refused(refusal(error))
            raise
        begun = time.monotonic()
        try:
            await self._mastership.proven(budget.left)
        finally:
            budget.left -= time.monotonic() - begun
        if self._link.run_id != run_id:
            raise RedisUnavailableError("another Redis is the master now")
        return answer

    def _require_usable(self, budget: Budget) -> None:
        if not self.health.breaker.closed:
            raise RedisUnavailableError(self.health.breaker.reason or self._link.failure)
        if budget.left <= 0:
            raise RedisUnavailableError(f"Redis took all of the {CALL_BUDGET * 1000:g} ms a call grants it")

    async def run(self) -> None:
        """Connects, pings and reconnects until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(self._up, self.health.lost))
            tasks.create_task(self._pings.run())
            tasks.create_task(self._mastership.run())
            tasks.create_task(self._waits.watch())

    def drop(self, reason: str) -> None:
        """Gives the connection up and makes a new one (a demoted master, a lost slot)."""
        self._link.drop(reason)

    def _up(self) -> None:
        self.health.clock.forget()
        self._mastership.connected()
        if self.one_slot and not self.name and not self._told_of_cluster:
            self._told_of_cluster = True
            log.warning("%s (for now, one master has every slot)", NOT_A_CLUSTER_ADDRESS, extra={"dependency": "redis"})
        self._pings.wake.set()


def _share(budget: Budget) -> float:
    """How long this command may take, in seconds."""
    return budget.left - _RESERVE if budget.left > 2 * _RESERVE else budget.left


def new_token() -> bytes:
    """A random id for a lease, a mark or an intent."""
    return uuid4().hex.encode()
