"""`PartialFaults`: faults of one proxy of several, one connection, only writes, one side of a failover, or the
publisher but not the broker.

Each lasts longer than a read may miss a commit (`WITHIN`, unless `quick`), so that an answer that stays outdated is
detected. A fault excuses only the time that docs/reliability.md states for it.
"""

import re
from collections.abc import Collection

from tests.consistency.faults import WITHOUT_EVENTS
from tests.consistency.publisher import Publisher
from tests.consistency.redis_sides import Replicated, Side, Watched
from tests.consistency.schedule import Fault, Schedule
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

WITHIN = 6.0
"""Seconds after which every read must see a commit, unless a fault excuses it: a proxy hands back events that it cannot
apply within 2 s, and drops a silent connection after 3 s; the rest is for a busy machine."""
HEARTBEAT = 2
"""Seconds between heartbeats with RabbitMQ. The broker drops a connection after two to three silent intervals."""
_LEAST, _MOST = WITHIN + 2, WITHIN + 5
_QUICK_LEAST, _QUICK_MOST = 0.5, 1.5
_SILENT = 10.0
"""Seconds without the events of own writes after which the publisher counts as silent."""
_UNTIL_FOLLOWED = 8.0
"""Seconds within which all proxies leave a server that is no longer the master. Every 5 s, each checks where its
Sentinels lead, which may take a second; the rest is for a busy machine."""
_UNTIL_LOOKED = 4.0
"""The same without Sentinels, where each proxy checks every second."""


class PartialFaults:
    """The faults in `kinds`; each is repaired when it returns."""

    def __init__(
        self,
        schedule: Schedule,
        redis: Side,
        to_rabbit: list[FaultyTcp],
        proxies: list[ProxyProcess],
        publisher: Publisher,
        *,
        quick: bool,
    ) -> None:
        """`to_rabbit`: a TCP proxy in front of RabbitMQ for each proxy."""
        self._random, self._drawn = schedule.random, schedule.pause
        self._checker = schedule.checker
        self._redis, self._to_rabbit, self._proxies, self._publisher = redis, to_rabbit, proxies, publisher
        self._quick = quick
        self.stopped: set[ProxyProcess] = set()
        self.kinds: dict[str, Fault] = {
            "Redis refuses writes for want of replicas": self._too_few_replicas,
            "Redis refuses writes as it cannot save": self._cannot_save,
            "one proxy stopped": self._proxy_stopped,
            "publisher mute": self._publisher_mute,
            "one proxy's way to RabbitMQ cut": self._rabbit_cut,
            "one proxy's way to RabbitMQ slow": self._rabbit_slow,
            "one proxy's way to RabbitMQ frozen": self._rabbit_frozen,
            "one connection to RabbitMQ swallowed": self._rabbit_swallowed,
        }
        if redis.links:
            self.kinds |= {
                "one proxy's way to Redis cut": self._way_cut,
                "one proxy's way to Redis slow": self._way_slow,
                "one proxy's way to Redis frozen": self._way_frozen,
                "one connection to Redis swallowed": self._connection_swallowed,
            }
        if isinstance(redis, Replicated):
            self.kinds |= {"one connection to another Redis": lambda: self._moved(redis)}
        if isinstance(redis, Watched):
            self.kinds |= {
                "planned failover": lambda: self._planned_failover(redis),
                "failover of a hung master": lambda: self._hung_master(redis),
            }
        if quick:
            for slow in _NEVER_QUICK & self.kinds.keys():
                del self.kinds[slow]

    async def _pause(self) -> None:
        await self._drawn(*((_QUICK_LEAST, _QUICK_MOST) if self._quick else (_LEAST, _MOST)))

    def _one_way(self) -> FaultyTcp:
        return self._random.choice(self._redis.links)

    # Faults of one proxy's connections.

    async def _way_cut(self) -> None:
        await self._cut(self._one_way())

    async def _way_slow(self) -> None:
        await self._slow(self._one_way(), (0.02, 0.06, 0.3))

    async def _way_frozen(self) -> None:
        await self._frozen(self._one_way())

    async def _cut(self, link: FaultyTcp) -> None:
        await link.refuse()
        await self._pause()
        await link.start()

    async def _slow(self, link: FaultyTcp, seconds: tuple[float, ...]) -> None:
        link.delay = self._random.choice(seconds)
        await self._pause()
        link.resume()

    async def _frozen(self, link: FaultyTcp) -> None:
        link.stall()
        await self._pause()
        link.resume()

    async def _rabbit_cut(self) -> None:
        await self._cut(self._random.choice(self._to_rabbit))

    async def _rabbit_slow(self) -> None:
        await self._slow(self._random.choice(self._to_rabbit), (0.06, 0.3, 1.0))

    async def _rabbit_frozen(self) -> None:
        with self._checker.excused(3.0 * HEARTBEAT):  # what the broker has handed out
            await self._frozen(self._random.choice(self._to_rabbit))

    # Faults of one connection.

    async def _connection_swallowed(self) -> None:
        await self._swallowed(self._one_way())

    async def _rabbit_swallowed(self) -> None:
        with self._checker.excused(3.0 * HEARTBEAT):
            await self._swallowed(self._random.choice(self._to_rabbit))

    async def _swallowed(self, link: FaultyTcp) -> None:
        await until(lambda: link.open, "a connection")
        link.swallow_one(self._random.randrange(link.open))
        await self._pause()

    async def _moved(self, redis: Replicated) -> None:
        """The address leads to the other server. One proxy reconnects a single connection, the others all of theirs."""
        link = self._one_way()
        await until(lambda: link.open, "a connection to Redis")
        with self._checker.lenient(_UNTIL_LOOKED):
            await redis.promote()
            if link.open:  # a proxy may have left by itself, since it checks every second where the address leads
                link.cut_one(self._random.randrange(link.open))
            for other in redis.links:
                if other is not link:
                    other.cut()
        await self._pause()
        await redis.demote()

    # Faults of writes only.

    async def _too_few_replicas(self) -> None:
        master = await self._redis.master()
        await master.cli("CONFIG", "SET", "min-replicas-to-write", 9)
        await self._pause()
        await master.cli("CONFIG", "SET", "min-replicas-to-write", 0)

    async def _cannot_save(self) -> None:
        master = await self._redis.master()
        dump = master.directory / "dump.rdb"
        dump.unlink(missing_ok=True)
        dump.mkdir()  # a file cannot replace a directory, whatever user runs the server
        await master.cli("CONFIG", "SET", "save", "3600 1000000")
        await _saved(master, "err")
        await self._pause()
        dump.rmdir()
        await _saved(master, "ok")
        await master.cli("CONFIG", "SET", "save", "")
        await self._redis.whole()

    # Faults of one side of a failover.

    async def _planned_failover(self, redis: Watched) -> None:
        before = await redis.master()
        with self._checker.lenient(_UNTIL_FOLLOWED):
            await redis.fail_over()
            await redis.failed_over(before)
            await self._some_connect_anew(before)
        await redis.whole()

    async def _hung_master(self, redis: Watched) -> None:
        before = await redis.master()
        with self._checker.lenient(_UNTIL_FOLLOWED):
            before.freeze()
            await redis.failed_over(before)
        await self._pause()
        before.thaw()
        await redis.whole()

    async def _some_connect_anew(self, server: RedisServer) -> None:
        """Closes about half of the connections to a server, so that some proxies see the new master first."""
        for line in (await server.cli("CLIENT", "LIST", "TYPE", "normal")).splitlines():
            if self._random.random() < 0.5:
                await server.cli("CLIENT", "KILL", "ID", int(_ID.findall(line)[0]))

    # A stopped proxy, and a mute publisher.

    async def _proxy_stopped(self) -> None:
        proxy = self._random.choice(self._proxies)
        self.stopped.add(proxy)
        with self._checker.excused(3.0 * HEARTBEAT):
            proxy.freeze()
            await self._pause()
            proxy.thaw()
        self.stopped.discard(proxy)

    async def _publisher_mute(self) -> None:
        with self._checker.excused(_SILENT + WITHOUT_EVENTS):
            self._publisher.mute = True
            await self._drawn(_SILENT + WITHOUT_EVENTS + _LEAST, _SILENT + WITHOUT_EVENTS + 2 * _MOST)
            self._publisher.mute = False
            # Entries stored meanwhile missed an event that never comes, and live for so long at most.
            await until(self._heard, "events to be heard of by all")
            await self._drawn(WITHOUT_EVENTS, WITHOUT_EVENTS)

    async def _heard(self) -> bool:
        missing = [await proxy.metric("media_cache_events_missing") for proxy in self._proxies]
        return not any(missing)


_ID = re.compile(rb"id=(\d+) ")
_NEVER_QUICK: Collection[str] = frozenset({"publisher mute"})


async def _saved(server: RedisServer, status: str) -> None:
    """Makes the server save until it reports this status."""

    async def done() -> bool:
        info = await server.info("persistence")
        if info["rdb_last_bgsave_status"] == status:
            return True
        if not info["rdb_bgsave_in_progress"]:
            await server.cli("BGSAVE")
        return False

    await until(done, f"a save that ends with {status}")
