"""What telemetry costs a hit: CPU of the proxy process for each part and for all together, relative to no telemetry.

    python -m bench.telemetry [--rounds N]

Proxies on one Redis answer the same hits alternately, so that other load on the machine affects all alike; each is
compared within a round, and judged by the median of these ratios. Exit status 1 if a hit costs over 10 % more with
metrics and logs on and no trace sampled, by its caller or by the proxy's own `OTEL_TRACES_SAMPLER`.

"none" is not a setting of the proxy: `bench.without_metrics` runs `serve` with metrics that count nothing, and only
errors are logged here.
"""

import argparse
import asyncio
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.accounting import Tree
from tests.support.calling import Gateway
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer

HITS, AT_ONCE = 100, 4
MOST_SAMPLED_OUT = 1.10
_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
_NONE, _NONE_CALLER_TRACED = "none", "none, caller traced"
_COMPARED = {
    "metrics, logs": _NONE,
    "and sampled out by us": _NONE,
    "metrics, logs, caller traced": _NONE_CALLER_TRACED,
    "and sampled out by its caller": _NONE_CALLER_TRACED,
    "and sampled": _NONE_CALLER_TRACED,
}
"""What each variant is compared with; both get calls with the same metadata."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Variant:
    """A proxy with these settings, called with this metadata. `without_metrics`: it counts and logs nothing."""

    name: str
    settings: dict[str, str]
    metadata: Metadata = ()
    without_metrics: bool = False


def _variants(endpoint: str) -> list[_Variant]:
    on = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    never = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    silent = {"LOG_LEVEL": "error", "ADMIN_ADDR": ""}
    unsampled, sampled = (("traceparent", f"{_SPAN}-00"),), (("traceparent", f"{_SPAN}-01"),)
    return [
        _Variant(_NONE, silent, without_metrics=True),
        _Variant("metrics, logs", {}),
        _Variant("and sampled out by us", on | never),
        _Variant(_NONE_CALLER_TRACED, silent, unsampled, without_metrics=True),
        _Variant("metrics, logs, caller traced", {}, unsampled),
        _Variant("and sampled out by its caller", on, unsampled),
        _Variant("and sampled", on, sampled),
    ]


async def _hits(gateway: Gateway, metadata: Metadata) -> None:
    async def some() -> None:
        for _ in range(HITS // AT_ONCE):
            await gateway.read(metadata=metadata)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def measure(rounds: int) -> dict[str, list[float]]:
    """Measures the CPU of a hit in seconds, by variant and round."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisServer())
        upstream = await stack.enter_async_context(FakeMediaServer())
        collector = await stack.enter_async_context(Collector())
        upstream.media.add("User", 1)
        running: dict[str, tuple[Tree, Gateway, Metadata]] = {}
        for variant in _variants(collector.endpoint):
            module = "bench.without_metrics" if variant.without_metrics else "proxy"
            addresses = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
            proxy = ProxyProcess(module=module, **addresses, **variant.settings)
            await stack.enter_async_context(proxy)
            gateway = await stack.enter_async_context(Gateway(proxy.addr))
            running[variant.name] = (Tree(proxy.pid), gateway, variant.metadata)
            await _hits(gateway, variant.metadata)
        spent: dict[str, list[float]] = {name: [] for name in running}
        for number in range(rounds):
            order = list(running.items())
            for name, (process, gateway, metadata) in order if number % 2 else reversed(order):
                before = process.cpu()
                await _hits(gateway, metadata)
                spent[name].append((process.cpu() - before) / HITS)
        return spent


def shares(spent: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """CPU of a hit by variant, in microseconds and relative to the same hit without telemetry; medians."""
    found = {}
    for name, seconds in spent.items():
        compared = zip(seconds, spent[_COMPARED.get(name, name)], strict=True)
        found[name] = (statistics.median(seconds) * 1e6, statistics.median(ours / none for ours, none in compared))
    return found


def main() -> int:
    """Prints one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    spent = asyncio.run(measure(parser.parse_args().rounds))
    dear = False
    for name, (micros, share) in shares(spent).items():
        print(f"{name:<30} {micros:6.1f} us CPU a hit   {share:.3f} of none")
        dear = dear or (name != "and sampled" and share > MOST_SAMPLED_OUT)
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
