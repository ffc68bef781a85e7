"""`make soak`: proxies, real Redis and RabbitMQ, readers and writers, and a seeded schedule of faults, judged.

    python -m tests.consistency.run [--seconds 30] [--seed 1] [--proxies 2] [--redis alone|replicated|sentinel]
        [--faults whole,partial] [--only "failover,one proxy"]
    python -m tests.consistency.run --seconds 600 --through PROXY:PORT --straight SERVICE:PORT --models user:1,product:7

Readers and writers go on through every fault. In the end all is mended, and once every event is applied each read must
see what the origin has. Exit status 1 with the log around each violation. With addresses it reads a deployment instead
(`deployment.py`).
"""

import argparse
import asyncio
import logging
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from proxy.policy.builtin.model import Model
from tests.consistency.applied import Applied
from tests.consistency.checker import Asked, Checker
from tests.consistency.deployment import report, watch
from tests.consistency.faults import WITHOUT_EVENTS, WholeFaults
from tests.consistency.origin import StampedMedia
from tests.consistency.partial_faults import HEARTBEAT, WITHIN, PartialFaults
from tests.consistency.publisher import Publisher
from tests.consistency.redis_sides import SIDES, Side
from tests.consistency.schedule import Schedule
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_BUSY, _QUIET = range(1, 7), range(101, 221)
"""Models that change all the time, so that reads, fills and invalidations overtake each other; and models that change
so seldom that no later event makes up for one that was missed."""
_MODELS = (*_BUSY, *_QUIET)
_AWAKE_FOR = 20.0  # seconds
_READERS, _WRITERS = 4, 2  # on each proxy; in all
_QUEUED = '[rabbit_amqqueue:info(Q, [messages]) || Q <- rabbit_amqqueue:list(<<"{vhost}">>)].'


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, and what breaks. `only`: beginnings of the faults' names, none: all of them. `quick`: partial faults
    are over before anything could be late.
    """

    seed: int = 1
    proxies: int = 2
    redis: str = "replicated"
    faults: frozenset[str] = frozenset({"whole", "partial"})
    only: tuple[str, ...] = ()
    quick: bool = False


class Run:
    """Made by `running`."""

    def __init__(self, plan: Plan, redis: Side, rabbit: RabbitServer, url: str) -> None:
        self._random = random.Random(plan.seed)  # noqa: S311 -- a schedule to repeat, no secret
        self._rabbit = rabbit
        self._queued = _QUEUED.format(vhost=url.rpartition("/")[2])
        self.checker = Checker(time.monotonic, within=WITHIN)
        self.applied = Applied(self.checker)
        self.publisher = Publisher(url)
        self.origin = StampedMedia(self.checker, self._random, self._committed)
        self.upstream = FakeMediaServer(self.origin)
        settings = {
            "RABBITMQ_ADDR": f"{url}?heartbeat={HEARTBEAT}",
            "MEDIA_SERVICE_ADDR": self.upstream.addr,
            "CACHE_TTL_WITHOUT_EVENTS": f"{WITHOUT_EVENTS:g}",
            "LOG_LEVEL": "debug",
        }
        self.proxies = [ProxyProcess(REDIS_ADDR=redis.addr(proxy), **settings) for proxy in range(plan.proxies)]
        self.schedule = Schedule(plan.seed, self.checker)
        self.whole = WholeFaults(self.schedule, redis, rabbit, self.proxies, self.origin, self.publisher)
        self.partial = PartialFaults(self.schedule, redis, self.proxies, self.publisher, quick=plan.quick)
        self.schedule.kinds |= (self.whole.kinds if "whole" in plan.faults else {}) | (
            self.partial.kinds if "partial" in plan.faults else {}
        )
        self.schedule.keep(plan.only)
        self._stubs: dict[ProxyProcess, Any] = {proxy: _stub(proxy.addr) for proxy in self.proxies}
        self._names = 0
        self._begun = time.monotonic()
        self.over = False

    def _committed(self, model: Model, version: int, name: str) -> None:
        """The origin committed: whoever wrote, an event of the same name follows."""
        self.applied.awaits(name, model, version)
        self.publisher.send(model, name)

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    # What goes on until the run is over.

    async def reader(self, proxy: ProxyProcess) -> None:
        while not self.over:
            await self.read(proxy, self._drawn())
            await asyncio.sleep(self._random.expovariate(1 / 0.005))

    def _drawn(self) -> Asked:
        if self._random.random() < 0.5:
            return Asked(self._random.choice(self._awake()))
        page, caller = self._random.choice((1, 1, 2)), self._random.choice(("", "", "ann", "ben"))
        return Asked(self._random.choice(_BUSY), page=page, caller=caller)

    def _awake(self) -> range:
        """A third of the quiet models is read at a time: what nobody has read for a while may be the oldest."""
        third = len(_QUIET) // 3
        at = int((time.monotonic() - self._begun) / _AWAKE_FOR) % 3
        return _QUIET[at * third : (at + 1) * third]

    async def read(self, proxy: ProxyProcess, asked: Asked) -> None:
        """One read, judged; it may fail only where its proxy or the origin did meanwhile."""
        excused = self._excused(proxy)
        begun = self.checker.began(asked)
        call = self._stubs[proxy].GetFilesByModel(
            asked.request, metadata=asked.metadata, timeout=30, wait_for_ready=True
        )
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            self.checker.counts["reads that failed"] += 1
            if not excused and not self._excused(proxy):
                self.checker.wrong(f"call failed: {error.code()} {error.details()} during {self.checker.during}")
            return
        trailing = dict(await call.trailing_metadata() or ())
        self.checker.ended(begun, response, str(trailing.get("x-cache")))
        self.checker.counts[f"answers: {trailing.get('x-cache')}"] += 1

    def _excused(self, proxy: ProxyProcess) -> bool:
        """Neither Redis nor RabbitMQ is an excuse."""
        return proxy in self.whole.down or self.whole.origin_fails

    async def writer(self) -> None:
        while not self.over:
            model_id = self._random.choice(_BUSY if self._random.random() < 0.7 else _QUIET)
            name = self._name("write")
            self.checker.counts["writes"] += 1
            if self._random.random() < 0.5:
                self.origin.commit(Model.of("User", model_id), name)
            else:
                running = [proxy for proxy in self.proxies if proxy not in self.partial.stopped]
                await self._upload(self._random.choice(running), model_id, name)
            await asyncio.sleep(self._random.expovariate(1 / 0.05))

    async def _upload(self, proxy: ProxyProcess, model_id: int, name: str) -> None:
        request = pb.UploadFileRequest(content=b"x", model_type="User", model_id=model_id, collection_name=name)
        try:
            await self._stubs[proxy].UploadFile(request, timeout=5)
        except grpc.aio.AioRpcError:
            self.checker.counts["writes that failed"] += 1
        self.applied.read_on()

    async def tail(self) -> None:
        while True:
            self.applied.read_on()
            await asyncio.sleep(0.005)

    # The end.

    async def quiet(self) -> None:
        """Returns once nothing is under way: no event, no invalidation, no flush."""
        await self.publisher.idle()
        try:
            for _ in range(3):
                await until(self._settled, "everything to be applied", timeout=60)
        except TimeoutError as error:
            self.checker.wrong(f"unsettled: {error}")

    async def _settled(self) -> bool:
        if re.search(r"messages,[1-9]", await self._rabbit.eval(self._queued)):
            return False
        for proxy in self.proxies:
            if await proxy.metric("media_cache_invalidations_pending"):
                return False
            for name in ("redis", "rabbitmq"):
                if await proxy.metric(f'media_cache_dependency_up{{dependency="{name}"}}') != 1:
                    return False
        return True

    async def converge(self) -> None:
        """All is mended: from now on every read sees what the origin has."""
        await self.quiet()
        self.applied.read_on()
        for model, version in self.checker.versions().items():
            self.checker.applied(model, version, "all is quiet")
        for asked in [
            Asked(model, page=page, caller=caller) for model in _BUSY for page in (1, 2) for caller in ("", "ann")
        ] + [Asked(model) for model in _QUIET]:
            for proxy in self.proxies:
                await self.read(proxy, asked)

    def report(self) -> str:
        """What was done and what was found, a line each."""
        counts = self.checker.counts
        lines = [f"{name:<36} {counts[name]:>8}" for name in sorted(counts)]
        lines += [f"{'events sent':<36} {self.publisher.sent:>8}", f"{'events lost':<36} {self.publisher.lost:>8}"]
        lines += [f"{'faults':<36} {self.schedule.counts.total():>8}"]
        lines += [f"fault: {name:<29} {count:>8}" for name, count in sorted(self.schedule.counts.items())]
        found = self.checker.found
        if self.checker.first is not None:
            lines.append(f"the first after {self.checker.first - self._begun:.1f} s")
        lines += [f"found: {name:<60} {count:>8}" for name, count in sorted(found.items())]
        return "\n".join([*lines, f"{'violations':<36} {found.total():>8}", *self.checker.violations[:5]])


def _stub(addr: str) -> Any:
    # Untyped: the generated stub says what a call answers, not that it is awaited.
    backoff = [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
    return MediaServiceStub(grpc.aio.insecure_channel(addr, options=backoff))


@asynccontextmanager
async def running(plan: Plan, rabbit: RabbitServer) -> AsyncIterator[Run]:
    """A run whose processes are up; they are gone when the block ends."""
    async with AsyncExitStack() as exits:
        redis = await exits.enter_async_context(SIDES[plan.redis](plan.proxies))
        run = Run(plan, redis, rabbit, await rabbit.vhost())
        await exits.enter_async_context(run.upstream)
        for proxy in run.proxies:
            await exits.enter_async_context(proxy)
            run.applied.watch(proxy.directory / "stderr")
        exits.callback(run.applied.close)
        yield run


async def carry_out(run: Run, seconds: float) -> None:
    """Everything at once for so long, then convergence."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with asyncio.TaskGroup() as around:
        tail, publisher = around.create_task(run.tail()), around.create_task(run.publisher.run())
        async with asyncio.TaskGroup() as tasks:
            work: list[Coroutine[Any, Any, None]] = [run.writer() for _ in range(_WRITERS)]
            work += [run.reader(proxy) for proxy in run.proxies for _ in range(_READERS)]
            for one in work:
                tasks.create_task(one)
            await run.schedule.run(lambda: loop.time() >= end)
            run.over = True
        await run.converge()
        tail.cancel()
        publisher.cancel()


async def _main(seconds: float, plan: Plan) -> int:
    async with RabbitServer() as rabbit, running(plan, rabbit) as run:
        await carry_out(run, seconds)
        print(f"{plan}, {seconds:g} s\n{run.report()}")  # noqa: T201 -- this is what the command is for
        return 1 if run.checker.violations else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="reads and writes through proxies while everything breaks")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--redis", choices=SIDES, default="replicated")
    parser.add_argument("--faults", default="whole,partial", help="which: whole, partial")
    parser.add_argument("--only", default="", help="beginnings of the faults' names, comma separated")
    parser.add_argument("--through", help="address of a deployed proxy; with --straight and --models")
    parser.add_argument("--straight", help="address of the media service behind it")
    parser.add_argument("--models", default="user:1", help="which to read there: user:1,product:7")
    given = parser.parse_args()
    if given.through and given.straight:
        watches = asyncio.run(watch(given.through, given.straight, given.models.split(","), given.seconds, 0.2))
        print(report(watches))  # noqa: T201 -- this is what the command is for
        return 0
    logging.disable(logging.ERROR)  # the AMQP library tells of each connection that we close
    only = tuple(filter(None, given.only.split(",")))
    plan = Plan(given.seed, given.proxies, given.redis, frozenset(given.faults.split(",")), only)
    return asyncio.run(_main(given.seconds, plan))


if __name__ == "__main__":
    sys.exit(main())
