"""`EventConsumer`: keeps the proxy connected to RabbitMQ, and knows when events may have been missed.

A *session* lasts as long as one connection. aio-pika's robust connection is not used, because it silently restores a
deleted queue. The steps of a session, and the reasons for their order:

 1. It looks for the proxy's queues, and for the mark of `topology.py`, before it declares anything, because a
    declaration hides that a queue was missing. Events may also have been missed before the session: an attempt to
    connect failed (publishers lose events while the broker is down), a queue was deleted, a message could not be
    decoded.
 2. If events may have been missed, it removes the mark, so that the owed flush is not forgotten if this process ends.
 3. It declares the queues that are missing, and consumes. From now on the broker reports the deletion of a queue, so
    none can disappear unnoticed between step 1 and the declaration of the existing ones.
 4. It declares and binds everything. From now on, no published event is missed.
 5. Only now does it owe a flush: an earlier flush would not cover events that were published before step 4.
 6. The flush runs beside the session and is retried until it is done, whatever happens to the session. Meanwhile events
    are applied and acknowledged: an acknowledgement says that Redis has confirmed that event's invalidation, and says
    nothing about the flush. If events may have been missed while a flush runs, another flush follows.
 7. Once the flush is done, the mark is declared. Steps 1 and 4 are repeated every `check_interval` seconds.

While this process cannot apply events (`duty.py`), it consumes none, and binds the queues without declaring them. Once
it can apply events again, it consumes first and declares the queues after that.

A message that the AMQP library cannot decode (such as a timestamp in nanoseconds) ends the connection before its
delivery tag is known, each time it is delivered. So the next session purges the queues and owes a flush, which
invalidates more than the purged events would have.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AMQPConnectionError

from proxy.amqp.claim import RIVAL, Claim
from proxy.amqp.connection_state import ConnectionState
from proxy.amqp.deliveries import Deliveries, EventObserver, Invalidator
from proxy.amqp.duty import PATIENCE, Able, Duty
from proxy.amqp.flushes import Flushes
from proxy.amqp.intake import CROWDED, PREFETCH, Intake
from proxy.amqp.rabbit_session import RabbitSession, why
from proxy.amqp.silence import Record, Silence
from proxy.amqp.topology import Source, Topology
from proxy.calls.event_gap import NEVER, EventGap
from proxy.policy.compiled_events import Event
from proxy.retry import Pauses, jittered
from proxy.telemetry.dependency import State
from proxy.tls import Leg

_DUTY_LOOKS = 8  # checks within the time that Redis is given to confirm
_STEADY = 5.0  # seconds; a session that lasted longer does not count as a failed attempt
_logger = logging.getLogger(__name__)


class EventConsumer:
    """Applies media events from `start()` to `stop()`. Nothing waits for it, and it raises no failure of RabbitMQ.

    `urls` are the nodes of one cluster, at least one, in the order in which they are tried.
    """

    def __init__(  # noqa: PLR0913 -- what only tests vary comes last
        self,
        urls: Sequence[str],
        prefix: str,
        invalidator: Invalidator,
        observer: EventObserver,
        *,
        events: Sequence[Event],
        check_interval: float = 30.0,
        prefetch: int = PREFETCH,
        tls: Leg | None = None,
        clock: Callable[[], float] = time.time,
        pauses: Pauses = jittered,
        gap: EventGap | None = None,
        able: Able | None = None,
        patience: float = PATIENCE,
        record: Record | None = None,
    ) -> None:
        """`events` are the policy's. `gap` is told, from `start()` on, whether events may be missing. `able` says which
        invalidations Redis accepts now, as far as is known, and `patience` how many seconds it has to confirm one.
        `record` is what all proxies together know about events; without it, no silence is noticed.
        """
        self._urls, self._tls = tuple(urls), tls
        by_queue = {f"{prefix}-{event.queue}": event for event in events}
        self._topology = Topology(prefix, {each.queue: Source(each.exchange, each.routing_keys) for each in events})
        self.depths = self._topology.depths
        self._observer = observer
        self._presence = ConnectionState(observer, self._topology.queues)
        self._check_interval, self._pauses = check_interval, pauses
        self._flushes = Flushes(invalidator.flush, settled=self._on_settled, pauses=pauses)
        self._silence, self._record = Silence(record, self._on_silence), record
        self._claim = Claim(prefix, self._topology)
        able = able or Able()
        self._deliveries = Deliveries(
            invalidator, observer, self._silence, events=by_queue.__getitem__, able=able, clock=clock, pauses=pauses
        )
        self._intake = Intake(tuple(self._topology.queues), self._deliveries, prefetch)
        self._duty, self._patience = Duty(able, patience), patience
        self._gap = gap or EventGap(math.inf, lambda: 0.0)
        self._missed = ""
        """Why the next session owes a flush; empty if it does not."""
        self._undecodable = self._marked = False
        self._session: RabbitSession | None = None
        self._grace = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def settled(self) -> bool:
        """Whether the first attempt to connect has ended, and no flush is owed or running."""
        return self._presence.known and self._flushes.settled

    @property
    def state(self) -> State:
        """Whether events arrive, for operators."""
        return self._presence.state(self._duty.trouble or self._silence.trouble or (RIVAL if self._claim.rival else ""))

    def wrote(self, began: float, tags: tuple[str, ...], intent: bytes) -> None:
        """A write through this process succeeded, so its event is expected. It began at `began` (`time.monotonic`)."""
        self._silence.wrote(began, tags, intent)

    def start(self) -> None:
        """Starts consuming in the background."""
        self._observer.dependency("rabbitmq", up=False)
        self._gap.opened(NEVER)
        self._tasks = [
            asyncio.create_task(self._run(), name="events"),
            asyncio.create_task(self._flushes.run(), name="events: flush"),
            asyncio.create_task(self._mind(), name="events: duty"),
            asyncio.create_task(self._silence.run(), name="events: silence"),
        ]

    async def stop(self, grace: float = 1.0) -> None:
        """Takes no more messages, waits up to `grace` seconds until those in hand are applied, and disconnects.

        The others stay unacknowledged and are delivered again. With a frozen broker it takes a few seconds more.
        """
        self._grace = grace
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._deliveries.finish(0.0)
        self._tasks = []

    async def _run(self) -> None:
        pauses = self._pauses()
        while True:
            began = time.monotonic()
            try:
                await self._connect_and_consume()
            except CONNECTION_EXCEPTIONS as error:
                self._lost((self._session and self._session.lost) or why(error))
            except Exception as error:  # a bug in this code must not end the consumer for good
                _logger.exception("the event consumer failed and is being restarted")
                self._lost(why(error))
            if time.monotonic() - began > _STEADY:
                pauses = self._pauses()
            await asyncio.sleep(next(pauses))

    async def _connect_and_consume(self) -> None:
        """Runs one session. Raises the error with which the attempt to connect or the connection ended."""
        missed, self._missed = self._missed, "RabbitMQ could not be reached"
        self._session = None
        context = self._tls.context if self._tls is not None else None
        session = self._session = await RabbitSession.first(self._urls, context)
        try:
            missed = await session.step(self._begin(session, missed))
            self._missed = ""
            self._presence.back()
            if missed:
                self._owe(missed)
            self._close_gap()
            try:
                await self._watch(session)
            except asyncio.CancelledError:
                await self._intake.let_go(session, self._grace)
                raise
        finally:
            if session.queue_deleted or session.undecodable:
                self._missed = session.lost
            self._undecodable |= session.undecodable
            await session.close()

    async def _begin(self, session: RabbitSession, missed: str) -> str:
        """Steps 1 to 4. Returns why events may have been missed; empty if they were not."""
        missed = await self._prepare(session.connection, missed)
        if self._duty.on:
            await self._intake.open(session, in_part=self._duty.in_part)
        missed = await self._topology.establish(session.connection, declare=self._duty.on) or missed
        await self._make_claim(session.connection)
        return missed

    async def _prepare(self, connection: AbstractConnection, missed: str) -> str:
        """Steps 1 to 3 without consuming. Returns why events may have been missed; empty if they were not."""
        found = await self._topology.look(connection)
        missed = missed or found.missed
        if missed:
            await self._topology.unmark(connection)
        self._marked = not missed
        for queue in found.missing:
            await self._topology.declare(connection, queue)
        if self._undecodable:
            await self._topology.purge(connection)
            self._undecodable = False
        return missed

    async def _watch(self, session: RabbitSession) -> None:
        """Step 7, and consuming according to `Duty`, until the session ends."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_interval):
                    await session.wake.wait()
            session.wake.clear()
            session.check()
            if self._duty.on:
                await session.step(self._intake.open(session, in_part=self._duty.in_part))
            else:
                await session.step(self._intake.hand_back(session))
            await session.step(self._check(session))
            self._close_gap()

    async def _check(self, session: RabbitSession) -> None:
        connection = session.connection
        found = await self._topology.look(connection, at_mark=self._flushes.settled and self._marked)
        if found.missing:
            self._missed = found.missed
            raise AMQPConnectionError(found.missed)
        missed = await self._topology.establish(connection, declare=self._intake.open_in(session)) or found.missed
        if missed:
            await self._topology.unmark(connection)
            self._marked = False
            self._owe(missed)
        elif self._flushes.settled and not self._marked:
            await self._topology.mark(connection)
            self._marked = True
        await self._make_claim(connection)

    def _owe(self, missed: str) -> None:
        """RabbitMQ may have lost events."""
        self._silence.forgive()
        self._flushes.owe(missed)

    async def _make_claim(self, connection: AbstractConnection) -> None:
        await self._claim.make(connection, self._record.id if self._record is not None else "")
        if self._claim.rival:
            self._gap.opened(NEVER)

    async def _mind(self) -> None:
        """Checks whether this process can apply events, and wakes the session when that changes."""
        while True:
            await asyncio.sleep(self._patience / _DUTY_LOOKS)
            crowded = self._deliveries.waiting >= CROWDED
            changed = self._duty.looked(time.monotonic(), self._deliveries.oldest, crowded=crowded)
            self._deliveries.hand_back(self._patience)
            self._silence.listening(self._taking)
            if not changed:
                continue
            if not self._duty.on:
                self._gap.opened(self._duty.doubtful_since or time.monotonic())
            if self._duty.trouble:
                _logger.warning("%s", self._duty.trouble, extra={"dependency": "rabbitmq"})
            else:
                _logger.info("consuming events again: Redis confirms invalidations", extra={"dependency": "rabbitmq"})
            if self._session is not None:
                self._session.wake.set()

    def _close_gap(self) -> None:
        """Closes the gap if events arrive and are applied, and nothing that is stored has missed one."""
        heard = self._silence.known and self._silence.since is None and not self._claim.rival
        if self._taking and heard and self._flushes.settled:
            self._gap.closed()

    @property
    def _taking(self) -> bool:
        """Whether events arrive and can be applied."""
        session = self._session
        return self._presence.up and self._duty.on and session is not None and self._intake.open_in(session)

    def _on_silence(self, owed: bool) -> None:
        """The state of a silence has changed. `owed`: it has ended, and what was stored meanwhile must be flushed."""
        if self._silence.since is not None:
            self._gap.opened(self._silence.since)
        if owed:
            self._flushes.owe("media events were missing")
        self._observer.events_missing(bool(self._silence.trouble))
        self._on_settled()  # the id of Redis may have become known

    def _on_settled(self) -> None:
        self._close_gap()
        if self._session is not None:
            self._session.wake.set()

    def _lost(self, why: str) -> None:
        now = time.monotonic()
        self._gap.opened(min(now, self._session.heard_until) if self._session is not None else now)
        self._presence.lost(why)
