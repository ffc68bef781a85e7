"""`make soak-memory`: makes 200,000 calls of all kinds, many cut short, through one proxy, and looks for leaks in it.

    python -m tests.soak.run [--calls 200000] [--seed 1]

Exit status 1 with a list of what grew.
"""

import argparse
import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.soak.held import CountedProxy, Sample, at_most, findings, growth
from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

_STATIONS = 24


class Soak:
    """One run; `samples` has one per station, the last one at rest."""

    def __init__(self, redis: RedisServer, rabbit_url: str, calls: int, seed: int) -> None:
        self._upstream, self._rabbit, self._calls, self._seed = free_port(), rabbit_url, calls, seed
        self.proxy = CountedProxy(
            REDIS_ADDR=redis.addr, RABBITMQ_ADDR=rabbit_url, MEDIA_SERVICE_ADDR=f"127.0.0.1:{self._upstream}"
        )
        self.samples: list[Sample] = []
        self.ended: dict[str, int] = {}
        """How the calls ended, as their callers saw it."""

    async def run(self) -> None:
        async with self.proxy, self._load() as load:
            assert load.stdout is not None
            assert load.stdin is not None
            assert await load.stdout.readline() == b"upstream\n"
            await until(self._upstream_up, "the proxy to be connected to upstream")
            load.stdin.write(b"go on\n")
            async for line in load.stdout:
                if not line.startswith(b"station "):
                    self.ended = {name: int(count) for name, count in _counts(line.decode())}
                    break
                calls = int(line.split()[1])
                if calls < self._calls:
                    self.samples.append(await self.proxy.sample(calls))
                else:
                    self.samples.append(await self.proxy.at_rest(calls, at_most(self.samples)))
                load.stdin.write(b"go on\n")
            if len(self.samples) != _STATIONS or not self.ended:
                raise RuntimeError(f"the load ended after {len(self.samples)} stations")
            self.results = {
                result: await self.proxy.metric(f'media_cache_requests_total{{result="{result}"}}')
                for result in ("hit", "miss", "coalesced", "bypass")
            }

    async def _upstream_up(self) -> bool:
        return await self.proxy.metric('media_cache_dependency_up{dependency="upstream"}') == 1

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[Process]:
        words = {
            "through": self.proxy.addr,
            "upstream": self._upstream,
            "rabbit": self._rabbit,
            "calls": self._calls,
            "stations": _STATIONS,
            "seed": self._seed,
        }
        arguments = [f"--{name}={value}" for name, value in words.items()]
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.soak.load", *arguments]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def report(self) -> str:
        ends = "  ".join(f"{name} {count}" for name, count in self.ended.items())
        lines = [*map(str, self.samples), ends, str(self.results), str(growth(self.samples))]
        return "\n".join([*lines, *findings(self.samples)])


def _counts(line: str) -> list[list[str]]:
    return [word.split("=") for word in line.split()]


async def _main(calls: int, seed: int) -> int:
    async with RedisServer() as redis, RabbitServer() as rabbit:
        soak = Soak(redis, await rabbit.vhost(), calls, seed)
        await soak.run()
        print(soak.report())  # noqa: T201 -- this is what the command is for
        return 1 if findings(soak.samples) else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="many calls, many cut short: is anything of them left in the proxy?")
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # the AMQP library tells of each connection that we close
    return asyncio.run(_main(given.calls, given.seed))


if __name__ == "__main__":
    sys.exit(main())
