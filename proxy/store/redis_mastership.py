"""`Mastership`: whether the server behind a link is still the master that the address names.

There are three sources: the server itself after each invalidation, if it had replicas (`Following`); a new connection
to the address from time to time; and the server at each ping. There is one connection, so reads go to the server that
was written to, and no command blocks on it: WAIT would delay the reads behind it.
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
"""Looks that must all find the same server before such an address is relied on again."""
_MOVED = 3
"""Looks that all find another server than the one in use: such an address has moved once more."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the address comes to mean a server."""

    settling: float = 10.0
    """Seconds that it may still name a master that was deposed. Sentinel demotes one after 8 to 10 s."""
    look_every: float = 1.0
    """Seconds between two looks where it leads, each a new connection; what is written to the wrong server, and read
    there, is outdated for that long."""
    by_map: bool = False
    """A Cluster's map names the masters, so that a new connection to one of them tells only that it lives."""


@dataclass(slots=True)
class Mastership:
    """`renewed` is told at once when another server is master: since when this process may have relied on one that was
    none, or None when it has relied on the new one before, and nobody knows what it has missed in between. `doubted`
    hears why the present one may be deposed.
    """

    link: Link
    make: Callable[[], AbstractConnection]
    naming: Naming
    renewed: Callable[[float | None], None]
    doubted: Callable[[str], None]
    since: float = field(default_factory=time.monotonic)
    """When the present master was first met."""
    _following: Following = field(init=False)
    _reign: bytes = b""
    _past: dict[bytes, None] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _written: int = 0
    _proven: int = 0
    _looked_at: float = field(default_factory=time.monotonic)
    _elsewhere: deque[float] = field(default_factory=lambda: deque(maxlen=_TURNS))
    """When the address led to another server, the last times."""
    _wavering: str = ""
    _steady: int = 0
    """Looks in a row that found this server; below 0, that found another one."""

    def __post_init__(self) -> None:
        self._following = self._new_following()

    @property
    def doubt(self) -> str:
        """Why the server may be deposed; empty: it is the master."""
        return self._wavering or self._following.doubt

    @property
    def _unproven(self) -> str:
        """Why what is written now is not confirmed yet; empty: it is."""
        return self._wavering or self._following.unproven

    def connected(self) -> None:
        """The link has a new connection, and no request was sent on it yet."""
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
        """Takes an answer to INFO in; False: this is no master of ours any more, and its connection was given up."""
        told, greeting = Replication.told(info), self.link.greeting
        if not told.master:
            self.link.drop("this Redis is a read-only replica now")
            return False
        if greeting is not None and greeting.replication.history not in {b"", told.history}:
            # It was a replica for a moment, or has its first one; only a new connection learns what counts now.
            self.link.drop("this Redis began another replication history")
            return False
        self._following.seen(told, asked_at)
        if self.doubt:
            self.doubted(self.doubt)
        return True

    async def proven(self, timeout: float) -> None:
        """Returns once the server was seen to be the master after what was written until now; at once where it never
        had a replica. RedisUnavailableError when that is in doubt. One look stands for all that wrote before it.
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
        """Looks where the address leads, until cancelled."""
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
