"""`ReplicatedWrites`: writes that count once all online replicas have them, so that a promoted one brings nothing back.

Redis' WAIT blocks its connection, so these writes have one of their own. One WAIT stands for all that was written
before it on that connection; only one is under way, and a short one: while it lasts, further writes on the connection
do not reach the master either, and a frozen replica must not keep them from it.
"""

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio.connection import AbstractConnection

from proxy.errors import RedisUnavailableError
from proxy.store.redis_link import Link, Reply

_WAIT_MS = 10


class UnansweredError(RedisUnavailableError):
    """The master itself did not answer in time."""


class ReplicatedWrites:
    """Connects once `replicas`, which the owner keeps current, was above 0."""

    def __init__(self, make: Callable[[], AbstractConnection], scripts: Sequence[bytes]) -> None:
        self._link = Link(make, scripts)
        self._replicas = 0
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._written = 0
        self._reached = 0

    @property
    def replicas(self) -> int:
        """How many are online."""
        return self._replicas

    @replicas.setter
    def replicas(self, count: int) -> None:
        self._replicas = count
        if count:
            self._wanted.set()

    @property
    def denied(self) -> str:
        """What our user may not do on this connection."""
        return self._link.permissions.missing

    async def run(self) -> None:
        """Connects and reconnects until cancelled."""
        await self._wanted.wait()
        await self._link.run(lambda: None, lambda reason: None)

    def drop(self, reason: str) -> None:
        """Gives the present connection up."""
        self._link.drop(reason)

    async def write(self, timeout: float, *command: bytes, asking: bool = False) -> object:
        """Redis' answer, once the replicas have it too; RedisUnavailableError after `timeout` seconds."""
        answered = False
        try:
            async with asyncio.timeout(timeout):
                await self._link.connected.wait()
                if asking:
                    self._link.request(b"ASKING").add_done_callback(ignored)
                answer = await self._link.request(*command)
                answered = True
                await self._reach_replicas()
        except TimeoutError:
            if not answered:
                raise UnansweredError("no answer to an invalidation") from None
            raise RedisUnavailableError(f"an invalidation is not on all of {self.replicas} replicas yet") from None
        return answer

    async def _reach_replicas(self) -> None:
        """Returns once the replicas have what was just written; a lost connection fails all who wait here at once."""
        self._written += 1
        mine = self._written
        while True:
            async with self._turn:
                if self._reached >= mine:
                    return
                covered = self._written
                count = await self._link.request(b"WAIT", b"%d" % self.replicas, b"%d" % _WAIT_MS)
                if isinstance(count, int) and count >= self.replicas:
                    self._reached = covered


def ignored(reply: Reply) -> None:
    """A callback for a reply that nobody awaits: its error is not reported as never retrieved."""
    if not reply.cancelled():
        reply.exception()
