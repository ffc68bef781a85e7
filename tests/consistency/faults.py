"""`WholeFaults`: failures of all of Redis, all of RabbitMQ, a whole proxy, or the origin."""

import time

from tests.consistency.origin import Failing
from tests.consistency.publisher import Publisher
from tests.consistency.redis_sides import Side
from tests.consistency.schedule import Fault, Schedule
from tests.consistency.traffic import Origin
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer

WITHOUT_EVENTS = 5.0
"""CACHE_TTL_WITHOUT_EVENTS of the proxies, in seconds: how long answers may be outdated once events are lost."""
_ON_ITS_WAY = 5.0  # seconds, on a busy machine
_CLOSE = '[rabbit_networking:close_connection(Pid, "closed by the test") || Pid <- rabbit_networking:connections()].'


class WholeFaults:
    """The faults in `kinds`; each is repaired when it returns."""

    def __init__(
        self,
        schedule: Schedule,
        redis: Side,
        rabbit: RabbitServer,
        proxies: list[ProxyProcess],
        origin: Origin,
        publisher: Publisher,
    ) -> None:
        self._random, self._pause = schedule.random, schedule.pause
        self._excused = schedule.checker.excused
        self._redis, self._rabbit, self._proxies = redis, rabbit, proxies
        self._origin, self._publisher = origin, publisher
        self.down: set[ProxyProcess] = set()
        self._origin_failed_at = float("-inf")
        self.starts = 0
        """The number of restarts of proxies after a kill."""
        self.kinds: dict[str, Fault] = {
            "Redis frozen": self._redis_frozen,
            "Redis killed": self._redis_killed,
            "Redis back from a snapshot": self._redis_from_snapshot,
            "Redis evicts": self._redis_evicts,
            "broker closes connections": self._broker_closes,
            "broker frozen": self._broker_frozen,
            "broker killed": self._broker_killed,
            "proxy killed": self._proxy_killed,
            "origin fails with a status": lambda: self._origin_fails("status"),
            "origin fails with success=false": lambda: self._origin_fails("unsuccessful"),
        }

    @property
    def origin_fails(self) -> bool:
        """Whether the origin fails now, or did so recently that such an answer may still be on its way."""
        return bool(self._origin.failing) or time.monotonic() - self._origin_failed_at < _ON_ITS_WAY

    async def _redis_frozen(self) -> None:
        master = await self._redis.master()
        master.freeze()
        await self._pause(0.1, 1.5)
        master.thaw()
        await self._redis.whole()

    async def _redis_killed(self) -> None:
        master = await self._redis.master()
        master.kill()
        (master.directory / "dump.rdb").unlink(missing_ok=True)
        await self._pause(0.0, 1.0)
        await master.start()
        await self._redis.whole()

    async def _redis_from_snapshot(self) -> None:
        master = await self._redis.master()
        await master.cli("SAVE")
        await self._pause(0.2, 0.6)
        master.kill()
        await master.start()
        await self._redis.whole()

    async def _redis_evicts(self) -> None:
        master = await self._redis.master()
        for key in await master.cli("KEYS", "media:model:*"):
            if self._random.random() < 0.5:
                await master.cli("DEL", key)

    async def _broker_closes(self) -> None:
        with self._excused(WITHOUT_EVENTS):
            await self._rabbit.eval(_CLOSE)

    async def _broker_frozen(self) -> None:
        with self._excused(WITHOUT_EVENTS):
            self._rabbit.freeze()
            await self._pause(0.2, 1.0)
            self._rabbit.thaw()

    async def _broker_killed(self) -> None:
        with self._excused(WITHOUT_EVENTS):
            self._publisher.down = True
            self._rabbit.kill()
            await self._pause(0.0, 0.5)
            await self._rabbit.start()
            self._publisher.down = False

    async def _proxy_killed(self) -> None:
        proxy = self._random.choice(self._proxies)
        self.down.add(proxy)
        proxy.kill()
        await self._pause(0.0, 0.5)
        await proxy.start()
        self.starts += 1
        self.down.discard(proxy)

    async def _origin_fails(self, how: Failing) -> None:
        self._origin.failing = how
        await self._pause(0.2, 0.8)
        self._origin.failing = ""
        self._origin_failed_at = time.monotonic()
