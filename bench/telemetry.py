"""What tracing costs a hit: CPU of the proxy process, sampled out and sampled, as a share of tracing off.

    python -m bench.telemetry [--rounds N]

Proxies on one Redis answer the same hits, in turns, so that what else the machine does falls on all alike. It only ever
adds, so each is judged by its lowest tenth over the rounds. Exit status 1 when a call that is sampled out, by its
caller or by our own `OTEL_TRACES_SAMPLER`, costs over 10 % more.
"""

import argparse
import asyncio
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.calling import Gateway
from tests.servers.otlp import Collector
from tests.servers.process import ProxyProcess
from tests.servers.redis import RedisServer
from tests.servers.upstream import FakeMediaServer

HITS, AT_ONCE = 100, 4
MOST_SAMPLED_OUT = 1.10
_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
_COMPARED = {
    "sampled out by us": "off",
    "sampled out by its caller": "off, caller traced",
    "sampled": "off, caller traced",
}
"""With what; both are sent the same metadata."""


def cpu(pid: int) -> float:
    """Seconds that the process has computed so far, in all its threads."""
    stats = (task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


async def _hits(gateway: Gateway, metadata: tuple[tuple[str, str], ...]) -> None:
    async def some() -> None:
        for _ in range(HITS // AT_ONCE):
            await gateway.read(metadata=metadata)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def measure(rounds: int) -> dict[str, list[float]]:
    """CPU of a hit in seconds, by variant and round."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisServer())
        upstream = await stack.enter_async_context(FakeMediaServer())
        collector = await stack.enter_async_context(Collector())
        upstream.media.add("User", 1)
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        never = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
        running: dict[str, tuple[int, Gateway, tuple[tuple[str, str], ...]]] = {}
        variants: list[tuple[str, dict[str, str], tuple[tuple[str, str], ...]]] = [
            ("off", {}, ()),
            ("sampled out by us", on | never, ()),
            ("off, caller traced", {}, (("traceparent", f"{_SPAN}-00"),)),
            ("sampled out by its caller", on, (("traceparent", f"{_SPAN}-00"),)),
            ("sampled", on, (("traceparent", f"{_SPAN}-01"),)),
        ]
        for name, settings, metadata in variants:
            proxy = ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **settings)
            await stack.enter_async_context(proxy)
            gateway = await stack.enter_async_context(Gateway(proxy.addr))
            running[name] = (proxy.pid, gateway, metadata)
            await _hits(gateway, metadata)
        spent: dict[str, list[float]] = {name: [] for name in running}
        for number in range(rounds):
            order = list(running.items())
            for name, (pid, gateway, metadata) in order if number % 2 else reversed(order):
                before = cpu(pid)
                await _hits(gateway, metadata)
                spent[name].append((cpu(pid) - before) / HITS)
        return spent


def main() -> int:
    """Prints a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    spent = asyncio.run(measure(parser.parse_args().rounds))
    dear = False
    undisturbed = {name: statistics.quantiles(seconds, n=10)[0] for name, seconds in spent.items()}
    for name, seconds in undisturbed.items():
        share = seconds / undisturbed[_COMPARED.get(name, name)]
        print(f"{name:<26} {seconds * 1e6:6.1f} us CPU a hit   {share:.3f} of off")
        dear = dear or (name.startswith("sampled out") and share > MOST_SAMPLED_OUT)
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
