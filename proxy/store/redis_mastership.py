"""`Mastership`: whether the server behind a link is still the master that the address names.

There are three sources: the server itself after each invalidation, if it had replicas (`Following`); a new connection
to the address from time to time; and the server at each ping. All commands share one connection, so reads go to the
server that was written to. No command may block that connection: WAIT would delay the reads behind it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio.connection import AbstractConnection

from proxy.errors import RedisUnavailableError
from proxy.store.redis_greeting import reign_behind
from proxy.store.redis_link import Link
from proxy.store.replication import Following, Replication

INFO = (b"INFO", b"replication")
_LOOK_IN_DOUBT_EVERY = 1.0
_MOST_PAST = 64
_TURNS, _TURNS_WITHIN = 3, 60.0
"""How often, within how many seconds, an address must lead elsewhere to count as leading to different servers."""
_STEADY = 10
"""Consecutive checks that must find the server in use before such an address is trusted again."""
_MOVED = 3
"""Consecutive checks that must find another server before such an address counts as moved."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the address is resolved to a server."""

    settling: float = 10.0
    """Seconds for which the address may still name a deposed master. Sentinel demotes one after 8 to 10 s."""
    look_every: float = 1.0
    """Seconds between two checks of where the address leads, each with a new connection. If it leads elsewhere, writes
    and reads go to the wrong server for that long."""
    by_map: bool = False
    """Whether a Cluster's map names the master: then a new connection to it only shows that the server is alive."""


@dataclass(slots=True)
class Mastership:
    """The mastership of the server behind `link`.

    `renewed` is called at once when another server is master, with the time (of `time.monotonic`) since when this
    process may have relied on a server that was no master. It gets None if this process used the new master before,
    since nobody knows what that one has missed. `doubted` is called with the reason why the current one may be deposed.
    """

    link: Link
    make: Callable[[], AbstractConnection]
    naming: Naming
    renewed: Callable[[float | None], None]
    doubted: Callable[[str], None]
    since: float = field(default_factory=time.monotonic)
    """When this process first connected to the current master, by `time.monotonic`."""
    _following: Following = field(init=False)
    _reign: bytes = b""
    _past: dict[bytes, None] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _written: int = 0
    _proven: int = 0
    _looked_at: float = field(default_factory=time.monotonic)
    _elsewhere: deque[float] = field(default_factory=lambda: deque(maxlen=_TURNS))
    """When the last checks led to another server."""
    _wavering: str = ""
    """The doubt while the address leads to different servers; empty while it does not."""
    _steady: int = 0
    """The number of consecutive checks that found this server; negative if they found another one."""

    def __post_init__(self) -> None:
        self._following = self._new_following()

    @property
    def doubt(self) -> str:
        """Why the server may be deposed; empty if it is the master."""
        return self._wavering or self._following.doubt

    @property
    def _unproven(self) -> str:
        """Why what is written now cannot be confirmed yet; empty if it can."""
        return self._wavering or self._following.unproven

    def connected(self) -> None:
        """The link has a new connection, on which no request has been sent yet."""
        greeting, now = self.link.greeting, time.monotonic()
        if greeting is None:
            return
        if greeting.reign != self._reign:
            known_before = greeting.reign in self._past
            since = self._following.sure_at
            self._past.pop(greeting.reign, None)
            self._past[greeting.reign] = None
            if len(self._past) > _MOST_PAST:
                del self._past[next(iter(self._past))]
            self._reign, self._following, self._looked_at = greeting.reign, self._new_following(), now
            self.since = now
            self._steady = 0
            self.renewed(None if known_before else since)
        self._following.seen(greeting.replication, now)

    def told(self, info: bytes, asked_at: float) -> bool:
        """Takes a reply to INFO, asked for at `asked_at`. False if the server can no longer be used as the master; its
        connection is dropped then.
        """
        told, greeting = Replication.told(info), self.link.greeting
        if not told.master:
            self.link.drop("this Redis is a read-only replica now")
            return False
        if greeting is not None and greeting.replication.history not in {b"", told.history}:
            # It was a replica for a moment, or has got its first replica. Only a new connection reads the new reign.
            self.link.drop("this Redis began another replication history")
            return False
        self._following.seen(told, asked_at)
        if self.doubt:
            self.doubted(self.doubt)
        return True

    async def proven(self, timeout: float) -> None:
        """Returns once a check, begun after everything written so far, has found that the server is the master; at once
        if it never had a replica. Raises RedisUnavailableError if that is in doubt, or after `timeout` seconds. One
        check covers all writes before it.
        """
        self._written += 1
        mine = self._written
        try:
            async with asyncio.timeout(timeout), self._turn:
                if (self._following.watched or self._wavering) and self._proven < mine:
                    await self._look_after(self._written)
        except TimeoutError:
            raise RedisUnavailableError("Redis did not say whether it is still the master") from None

    async def _look_after(self, covered: int) -> None:
        asked_at = time.monotonic()
        if not self._unproven:
            info = await self.link.request(*INFO)
            if not isinstance(info, bytes) or not self.told(info, asked_at):
                raise RedisUnavailableError(self.link.failure)
        if self._unproven:
            raise RedisUnavailableError(self._unproven)
        self._proven = covered

    async def run(self) -> None:
        """Checks where the address leads, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_IN_DOUBT_EVERY)
            due = not self.naming.by_map and time.monotonic() - self._looked_at >= self.naming.look_every
            if self.link.connected.is_set() and (due or self._unproven):
                await self._look_anew()

    async def _look_anew(self) -> None:
        self._looked_at, reign = time.monotonic(), self.link.run_id
        found = await reign_behind(self.make)
        if found is None or reign != self.link.run_id or not self.link.connected.is_set():
            return
        if found == reign:
            self._found_here()
        else:
            self._found_elsewhere(self._looked_at)

    def _found_here(self) -> None:
        self._steady = max(0, self._steady) + 1
        if self._steady >= _STEADY:
            self._wavering = ""
        self._following.confirmed(self._looked_at)

    def _found_elsewhere(self, now: float) -> None:
        self._steady = min(0, self._steady) - 1
        self._elsewhere.append(now)
        if len(self._elsewhere) == _TURNS and now - self._elsewhere[0] < _TURNS_WITHIN:
            self._wavering = "the address of Redis leads to different servers at different times"
            self.doubted(self._wavering)
        if not self._wavering or self._steady <= -_MOVED:
            self._steady = 0
            self.link.drop("the address of Redis leads to another server now")

    def _new_following(self) -> Following:
        return Following(self.naming.settling, self.naming.by_map, time.monotonic())
