"""`Node`: one Redis server as the cache uses it: commands within a call's time budget, and whether it can be used."""

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
"""The maximum time in seconds that Redis may add to one call."""
_LARGEST_VALUE = 4 << 20  # bytes; more than this cannot be expected to arrive within a call's budget
_RESERVE = 0.010  # seconds of the budget that are kept for the next command
FIRST_SHARE = CALL_BUDGET - _RESERVE
"""The part of the budget that the first command of a call may use, in seconds."""
_SAMPLE_EVERY = 0.005
_TURNS = 4  # of the event loop, from sending a request to waking its caller


@dataclass(slots=True)
class Budget:
    """How much time Redis may still take from one call, in seconds."""

    left: float = CALL_BUDGET


@dataclass(slots=True)
class Node:
    """Connected while `run` runs. `changed` is called with True or False when the node becomes usable or unusable, and
    `renewed` when another server is master (see `Mastership`). `name` is set for a node of a Cluster. Without `probe`
    the node is not tested for whether it accepts invalidations.
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
        """Whether it is connected, answers quickly enough, and receives all invalidations."""
        return self.health.breaker.closed and self._link.connected.is_set()

    @property
    def run_id(self) -> bytes:
        """Identifies the server process behind the current connection; see `Link.run_id`."""
        return self._link.run_id

    @property
    def one_slot(self) -> bool:
        """Whether all keys of a script must be in one slot."""
        return bool(self.name) or (self._link.greeting is not None and self._link.greeting.in_cluster)

    @property
    def trouble(self) -> str:
        """Why it cannot be used now, which permission the proxy's user lacks, or that its memory is full; otherwise
        empty."""
        if not self._link.connected.is_set():
            return self._link.failure
        return self._link.permissions.missing or self.health.breaker.reason or self._link.fullness.trouble

    @property
    def master_since(self) -> float:
        """When this process first connected to the current master, by `time.monotonic`."""
        return self._mastership.since

    @property
    def evicts(self) -> bool:
        """Whether this server may evict keys, by what it reports."""
        return self._pings.evicts

    def now_ms(self) -> float:
        """The time on this server's clock, estimated from its quickest ping, in milliseconds since 1970."""
        return self.health.clock.now_ms(time.monotonic())

    def is_ahead(self, ms: int) -> bool:
        """Whether a time is in the future, by this server's clock."""
        return self.health.clock.is_ahead(ms, time.monotonic())

    def min_born_ms(self) -> int:
        """Entries born before this count as absent; see `Health`."""
        return self.health.min_born_ms()

    def send(self, *command: bytes, batch: int = 1) -> Reply:
        """Sends a command that nobody waits for and returns its future, even while the breaker is open, so that leases
        are released whenever possible. RedisUnavailableError if there is no connection.

        `batch` is the number of commands that its span stands for, of which this is the last; 0 means that the span of
        another command stands for it.
        """
        reply = self._link.request(*command)
        if batch:
            tracing.redis_sent(command, self._link.peer, reply, batch)
        return reply

    async def ask(self, budget: Budget, *command: bytes, asking: bool = False) -> object:
        """Sends one command and awaits its reply within the budget. RedisUnavailableError also if Redis refuses it.
        `asking` follows an ASK redirection to this node.
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
        """The first half of `ask`, without a span. Returns the reply, which fails with RedisUnavailableError after
        `seconds`, and when Redis was asked, by `time.monotonic`. `ended` follows when the reply has been awaited.
        """
        reply = self._link.request(*command)
        begun = time.monotonic()
        self._waits.begin(reply, begun, begun + seconds)
        return reply, begun

    def ended(self, reply: Reply, begun: float, now: float, left: float) -> float:
        """Returns what remains of a budget of `left` seconds. The outcome is reported to `Health`, unless the wait was
        cancelled; so is, every few milliseconds, how long Redis took, without delays of the proxy's own event loop.
        """
        self._waits.end(reply)
        if not reply.done() or reply.cancelled():
            return left
        error = reply.exception()
        spent = now - begun
        if error is not None:
            if isinstance(error, ClusterDownError):
                # The node answers but its cluster is down: an outage until a ping reports the cluster's state as ok.
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
        """Removes a field of a hash if it is so large that it may be why no reply came in time. Otherwise bytes that
        somebody else stored there would open the breaker at each read.
        """

        def measured(size: Reply) -> None:
            length = None if size.cancelled() or size.exception() else size.result()
            if isinstance(length, int) and length > _LARGEST_VALUE and self._link.connected.is_set():
                self.send(b"HDEL", key, field).add_done_callback(ignored)

        if self._link.connected.is_set():
            self.send(b"HSTRLEN", key, field).add_done_callback(measured)

    async def write(self, budget: Budget, *command: bytes, asking: bool = False) -> object:
        """Sends an invalidation, which counts as done once this server has proved that it is still the master."""
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
            raise RedisUnavailableError(f"Redis took all of its {CALL_BUDGET * 1000:g} ms for this call")

    async def run(self) -> None:
        """Connects, pings and reconnects until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(self._up, self.health.lost))
            tasks.create_task(self._pings.run())
            tasks.create_task(self._mastership.run())
            tasks.create_task(self._waits.watch())

    def drop(self, reason: str) -> None:
        """Closes the connection and opens a new one, after a demotion or the loss of a slot."""
        self._link.drop(reason)

    def _up(self) -> None:
        self.health.clock.forget()
        self._mastership.connected()
        if self.one_slot and not self.name and not self._told_of_cluster:
            self._told_of_cluster = True
            log.warning("%s (for now, one master has every slot)", NOT_A_CLUSTER_ADDRESS, extra={"dependency": "redis"})
        self._pings.wake.set()


def _share(budget: Budget) -> float:
    """How long the next command may take, in seconds."""
    return budget.left - _RESERVE if budget.left > 2 * _RESERVE else budget.left


def new_token() -> bytes:
    """A random id for a lease, a mark or an intent."""
    return uuid4().hex.encode()
