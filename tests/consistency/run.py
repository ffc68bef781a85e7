"""`make soak`: proxies, real Redis and RabbitMQ, readers and writers, and a seeded schedule of faults, judged.

    python -m tests.consistency.run [--seconds 30] [--seed 1] [--policy media|product] [--proxies 2]
        [--redis alone|replicated|sentinel|cluster] [--faults whole,partial] [--only "failover,one proxy"]
        [--beside 20] [--keep DIRECTORY]
    python -m tests.consistency.run --seconds 600 --through PROXY:PORT --straight SERVICE:PORT --models user:1,product:7

Readers and writers continue through every fault. In the end everything is repaired, and once every event is applied,
each read must see what the origin has. The exit status is 1 if there was a violation; the log around each one is
printed. `--beside` runs so many processes beside it that keep the machine busy; `--keep` keeps the report, the times of
the faults and the proxies' logs. With addresses, it reads a deployment instead (`deployment.py`).
"""

import argparse
import asyncio
import logging
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.consistency.applied import Applied
from tests.consistency.checker import Checker, Question
from tests.consistency.deployment import report, watch
from tests.consistency.faults import WITHOUT_EVENTS, WholeFaults
from tests.consistency.partial_faults import HEARTBEAT, WITHIN, PartialFaults
from tests.consistency.publisher import Publisher
from tests.consistency.redis_sides import SIDES, Side
from tests.consistency.reporting import kept, told
from tests.consistency.schedule import Schedule
from tests.consistency.spinning import spinning
from tests.consistency.traffic import BUSY, QUIET, TRAFFIC
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

_AWAKE_FOR = 20.0  # seconds
_READERS, _WRITERS = 4, 2  # on each proxy; in total
_QUEUED = '[rabbit_amqqueue:info(Q, [messages]) || Q <- rabbit_amqqueue:list(<<"{vhost}">>)].'


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, and what fails. `only`: prefixes of the faults' names; empty means all faults. `quick`: partial
    faults end before any read could be late.
    """

    seed: int = 1
    policy: str = "media"
    proxies: int = 2
    redis: str = "replicated"
    faults: frozenset[str] = frozenset({"whole", "partial"})
    only: tuple[str, ...] = ()
    quick: bool = False


class Run:
    """One run; `running` creates it."""

    def __init__(self, plan: Plan, redis: Side, rabbit: RabbitServer, url: str) -> None:
        self._random = random.Random(plan.seed)  # noqa: S311 -- a schedule to repeat, no secret
        self._rabbit = rabbit
        self._queued = _QUEUED.format(vhost=url.rpartition("/")[2])
        self.checker = Checker(time.monotonic, within=WITHIN)
        self.publisher = Publisher(url)
        self.traffic = TRAFFIC[plan.policy](self.checker, self._random, self._committed)
        self.applied = Applied(self.checker, self.traffic.lines)
        settings = {
            **self.traffic.settings,
            "MEDIA_SERVICE_ADDR": self.traffic.server.addr,
            "CACHE_TTL_WITHOUT_EVENTS": f"{WITHOUT_EVENTS:g}",
            "LOG_LEVEL": "debug",
        }
        self.to_rabbit = [FaultyTcp(rabbit.port) for _ in range(plan.proxies)]
        brokers = [url.replace(f":{rabbit.port}/", f":{link.port}/") for link in self.to_rabbit]
        self.proxies = [
            ProxyProcess(REDIS_ADDR=redis.addr(number), RABBITMQ_ADDR=f"{broker}?heartbeat={HEARTBEAT}", **settings)
            for number, broker in enumerate(brokers)
        ]
        self.schedule = Schedule(plan.seed, self.checker)
        self.whole = WholeFaults(self.schedule, redis, rabbit, self.proxies, self.traffic.origin, self.publisher)
        self.partial = PartialFaults(
            self.schedule, redis, self.to_rabbit, self.proxies, self.publisher, quick=plan.quick
        )
        self.schedule.kinds |= (self.whole.kinds if "whole" in plan.faults else {}) | (
            self.partial.kinds if "partial" in plan.faults else {}
        )
        self.schedule.keep(plan.only)
        self._stubs: dict[ProxyProcess, Any] = {
            proxy: self.traffic.stub(_channel(proxy.addr)) for proxy in self.proxies
        }
        self._names = 0
        self._begun = time.monotonic()
        self.over = False

    def _committed(self, subject: str, version: int, name: str) -> None:
        """The origin committed. Whoever wrote, an event of the same name follows."""
        self.applied.awaits(name, subject, version)
        self.publisher.send(self.traffic.message(subject, name))

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    # What runs until the end.

    async def reader(self, proxy: ProxyProcess) -> None:
        while not self.over:
            await self.read(proxy, self.traffic.drawn(self._random, self._awake()))
            await asyncio.sleep(self._random.expovariate(1 / 0.005))

    def _awake(self) -> range:
        """Only a third of the quiet models is read at a time, because entries that nobody reads for a while get old."""
        third = len(QUIET) // 3
        at = int((time.monotonic() - self._begun) / _AWAKE_FOR) % 3
        return QUIET[at * third : (at + 1) * third]

    async def read(self, proxy: ProxyProcess, asked: Sequence[Question]) -> None:
        """Makes and judges one read. It may fail only if its proxy or the origin failed meanwhile."""
        excused = self._excused(proxy)
        begun = [self.checker.began(each) for each in asked]
        method, request = self.traffic.read(self._stubs[proxy], asked[0])
        call = method(request, metadata=asked[0].metadata, timeout=30, wait_for_ready=True)
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            self.checker.counts["reads that failed"] += 1
            if not excused and not self._excused(proxy):
                self.checker.wrong(f"call failed: {error.code()} {error.details()} during {self.checker.during}")
            return
        trailing = dict(await call.trailing_metadata() or ())
        for each in begun:
            self.checker.ended(each, response, str(trailing.get("x-cache")))
        self.checker.counts[f"answers: {trailing.get('x-cache')}"] += 1
        self.checker.counts[f"answers {asked[0].how}: {trailing.get('x-cache')}"] += 1

    def _excused(self, proxy: ProxyProcess) -> bool:
        """Whether a read through this proxy may fail. Failures of Redis and RabbitMQ do not excuse it."""
        return proxy in self.whole.down or self.whole.origin_fails

    async def writer(self) -> None:
        while not self.over:
            number = self._random.choice(BUSY if self._random.random() < 0.7 else QUIET)
            name = self._name("write")
            self.checker.counts["writes"] += 1
            if self._random.random() < 0.5:
                self.traffic.commit(number, name)
            else:
                running = [proxy for proxy in self.proxies if proxy not in self.partial.stopped]
                await self._write(self._random.choice(running), number, name)
            await asyncio.sleep(self._random.expovariate(1 / 0.05))

    async def _write(self, proxy: ProxyProcess, number: int, name: str) -> None:
        method, request = self.traffic.write(self._stubs[proxy], number, name)
        try:
            await method(request, timeout=5)
        except grpc.aio.AioRpcError:
            self.checker.counts["writes that failed"] += 1
        self.applied.read_on()

    async def tail(self) -> None:
        while True:
            self.applied.read_on()
            await asyncio.sleep(0.005)

    # The end.

    async def quiet(self) -> None:
        """Returns once no event, invalidation or flush is in progress."""
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
        """Everything is repaired; asserts that every read sees what the origin has from now on."""
        await self.quiet()
        self.applied.read_on()
        for model, version in self.checker.versions().items():
            self.checker.applied(model, version, "all is quiet")
        for asked in self.traffic.every():
            for proxy in self.proxies:
                await self.read(proxy, asked)

    def report(self) -> str:
        """The summary: what was done and what was found, a line each."""
        return told(self.checker, self.publisher, self.schedule, self._begun)


def _channel(addr: str) -> grpc.aio.Channel:
    backoff = [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
    return grpc.aio.insecure_channel(addr, options=backoff)


@asynccontextmanager
async def running(plan: Plan, rabbit: RabbitServer) -> AsyncIterator[Run]:
    """A run whose processes are up; they are ended with the block."""
    async with AsyncExitStack() as exits:
        redis = await exits.enter_async_context(SIDES[plan.redis](plan.proxies))
        run = Run(plan, redis, rabbit, await rabbit.vhost())
        exits.callback(run.traffic.close)
        for link in run.to_rabbit:
            await exits.enter_async_context(link)
        await exits.enter_async_context(run.traffic.server)
        for proxy in run.proxies:
            await exits.enter_async_context(proxy)
            run.applied.watch(proxy.directory / "stderr")
        exits.callback(run.applied.close)
        yield run


async def carry_out(run: Run, seconds: float) -> None:
    """Runs everything concurrently for so long, and then checks convergence."""
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


async def _main(seconds: float, plan: Plan, beside: int, keep: Path | None) -> int:
    async with RabbitServer() as rabbit, running(plan, rabbit) as run:
        try:
            with spinning(beside):
                await carry_out(run, seconds)
        finally:
            report = f"{plan}, {seconds:g} s\n{run.report()}"
            if keep is not None:
                kept(keep, report, run.checker, run.schedule, run.proxies)
        print(report)  # noqa: T201 -- this is what the command is for
        return 1 if run.checker.violations else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="reads and writes through proxies while everything breaks")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--policy", choices=TRAFFIC, default="media", help="which service is read and written")
    parser.add_argument("--redis", choices=SIDES, default="replicated")
    parser.add_argument("--faults", default="whole,partial", help="which: whole, partial")
    parser.add_argument("--only", default="", help="beginnings of the faults' names, comma separated")
    parser.add_argument("--beside", type=int, default=0, help="so many processes spin beside it: a busy machine")
    parser.add_argument("--keep", type=Path, help="a directory for the report, the faults' times, the proxies' logs")
    parser.add_argument("--through", help="address of a deployed proxy; with --straight and --models")
    parser.add_argument("--straight", help="address of the media service behind it")
    parser.add_argument("--models", default="user:1", help="which to read there: user:1,product:7")
    given = parser.parse_args()
    if given.through and given.straight:
        watches = asyncio.run(watch(given.through, given.straight, given.models.split(","), given.seconds, 0.2))
        print(report(watches))  # noqa: T201 -- this is what the command is for
        return 0
    logging.disable(logging.ERROR)  # the AMQP library logs each connection that the run closes
    only = tuple(filter(None, given.only.split(",")))
    plan = Plan(given.seed, given.policy, given.proxies, given.redis, frozenset(given.faults.split(",")), only)
    return asyncio.run(_main(given.seconds, plan, given.beside, given.keep))


if __name__ == "__main__":
    sys.exit(main())
