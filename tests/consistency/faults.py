"""`Faults`: a seeded schedule of what breaks under the run, each fault mended before the next."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.consistency.origin import Failing, StampedMedia
from tests.consistency.publisher import Publisher
from tests.servers.process import ProxyProcess
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer

_CLOSE = '[rabbit_networking:close_connection(Pid, "closed by the test") || Pid <- rabbit_networking:connections()].'


class Faults:
    """Every kind once, in an order of the seed's, then again in another."""

    def __init__(
        self,
        seed: int,
        redis: RedisServer,
        rabbit: RabbitServer,
        proxies: list[ProxyProcess],
        origin: StampedMedia,
        publisher: Publisher,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- a schedule to repeat, no secret
        self._redis, self._rabbit, self._proxies = redis, rabbit, proxies
        self._origin, self._publisher = origin, publisher
        self.counts: Counter[str] = Counter()
        self.now = ""
        """What is broken at this moment."""
        self.down: set[ProxyProcess] = set()
        self.starts = 0
        """Of proxies, after a kill."""
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
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

    async def run(self, over: Callable[[], bool]) -> None:
        """Until it is over, and every kind was injected at least once."""
        while not over() or len(self.counts) < len(self.kinds):
            kinds = list(self.kinds)
            self._random.shuffle(kinds)
            for kind in kinds:
                await self._pause(0.3, 1.2)
                if over() and len(self.counts) == len(self.kinds):
                    return
                self.now = kind
                await self.kinds[kind]()
                self.now = ""
                self.counts[kind] += 1

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._random.uniform(least, most))

    async def _redis_frozen(self) -> None:
        self._redis.freeze()
        await self._pause(0.1, 1.5)
        self._redis.thaw()

    async def _redis_killed(self) -> None:
        self._redis.kill()
        (self._redis.directory / "dump.rdb").unlink(missing_ok=True)
        await self._pause(0.0, 1.0)
        await self._redis.start()

    async def _redis_from_snapshot(self) -> None:
        await self._redis.cli("SAVE")
        await self._pause(0.2, 0.6)
        self._redis.kill()
        await self._redis.start()

    async def _redis_evicts(self) -> None:
        for key in await self._redis.cli("KEYS", "media:model:*"):
            if self._random.random() < 0.5:
                await self._redis.cli("DEL", key)

    async def _broker_closes(self) -> None:
        await self._rabbit.eval(_CLOSE)

    async def _broker_frozen(self) -> None:
        self._rabbit.freeze()
        await self._pause(0.2, 1.0)
        self._rabbit.thaw()

    async def _broker_killed(self) -> None:
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
