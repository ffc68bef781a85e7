"""How a hit's cost grows with the entry's size, and with the number of models, variants, callers and proxies per Redis.

Measured is the CPU of the proxy and of Redis per hit. Misses create the entries first, so every measured read is a hit.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from redis.asyncio import Redis

from bench import load, messages
from bench.caller import Caller
from bench.load import Asked
from bench.stack import Server, Stack
from bench.subjects import READ
from proxy.calls import entry
from proxy.pb import media_pb2 as pb
from proxy.store.redis_greeting import reign
from tests.support.media_methods import MediaKeys

_CALLERS, _CALLS, _ROUNDS = 8, 500, 5
_FILLING, _LIFE_MS = 500, 3_600_000
KIB = (0.5, 5, 50, 500)
MODELS = (1, 100, 10_000, 100_000)
VARIANTS = (1, 16, 128, 256)
CALLERS = (1, 8, 64, 250)
"""250 is the default maximum of concurrent calls per connection (MAX_CALLS_PER_CONNECTION); more wait in the caller."""
PROXIES = (1, 2, 4, 8)
_STAMPEDE = 100


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: what was varied, and to what."""

    what: str
    value: float
    cpu_us: float
    redis_us: float
    rate: float


@dataclass(frozen=True, slots=True)
class Stampede:
    """Concurrent reads, through all proxies, of one model that is not cached."""

    proxies: int
    reads: int
    upstream_calls: int


async def run() -> tuple[list[Point], list[Stampede]]:
    """Takes about a minute and a half."""
    async with Stack() as stack:
        await stack.start("media")
        media = stack.servers["media"].address  # answers of any size
        proxy = await stack.proxy("proxy-1", MEDIA_SERVICE_ADDR=media)
        points = [*await _sizes(stack, proxy), *await _callers(stack, proxy)]
        points += await _spread(stack, proxy, "models", [[messages.read(1 + n) for n in range(k)] for k in MODELS])
        points += await _spread(
            stack, proxy, "variants of one model", [[messages.read(-1, page=1 + n) for n in range(k)] for k in VARIANTS]
        )
        for number in range(2, max(PROXIES) + 1):
            await stack.proxy(f"proxy-{number}", MEDIA_SERVICE_ADDR=media)
        return points, [await _stampede(stack, count) for count in PROXIES]


async def _sizes(stack: Stack, proxy: Server) -> list[Point]:
    points = []
    for kib in KIB:
        extra = int(max(0, (kib - KIB[0]) * 1024))
        body = messages.read(size=extra)
        answer = messages.answer(pb.GetFilesByModelRequest.FromString(body)).ByteSize()
        asked = Asked(messages.READ, body, len(messages.framed(b"")) + answer)
        points.append(await _fixed(stack, proxy, "KiB of an entry", kib, asked, _CALLERS))
    return points


async def _callers(stack: Stack, proxy: Server) -> list[Point]:
    return [await _fixed(stack, proxy, "callers", count, READ, count) for count in CALLERS]


async def _fixed(stack: Stack, proxy: Server, what: str, value: float, asked: Asked, callers: int) -> Point:
    async with Caller(proxy.address) as caller:
        await caller.read(asked.body)
    redis = stack.servers["redis"].tree
    samples = []
    for _ in range(_ROUNDS):
        before = redis.cpu()
        calls = max(_CALLS, 4 * callers)
        sample = await load.run(proxy.address, proxy.tree, asked, callers=callers, calls=calls)
        samples.append((sample.cpu_us, (redis.cpu() - before) / calls * 1e6, sample.rate))
    return _point(what, value, samples)


async def _spread(stack: Stack, proxy: Server, what: str, sets: list[list[bytes]]) -> list[Point]:
    """Measures reads that are drawn uniformly from each set of requests."""
    points, redis, chance = [], stack.servers["redis"].tree, random.Random(1)  # noqa: S311 -- the same each time
    async with Caller(proxy.address) as caller:
        for bodies in sets:
            await _store(stack.servers["redis"].address, bodies)
            samples = []
            for _ in range(_ROUNDS):
                before = redis.cpu()
                drawn = chance.choices(bodies, k=_CALLS)
                sample = await caller.measure(proxy.tree, drawn, "hit", callers=_CALLERS)
                samples.append((sample.cpu_us, (redis.cpu() - before) / _CALLS * 1e6, sample.rate))
            points.append(_point(what, len(bodies), samples))
    return points


async def _store(redis: str, bodies: list[bytes]) -> None:
    """Stores entries as `lua/fill.lua` does, because 100,000 misses would take minutes."""
    keys, answer = MediaKeys("media", ()), messages.answer(pb.GetFilesByModelRequest.FromString(bodies[0]))
    async with Redis.from_url(f"redis://{redis}") as client:
        info, born = await client.info(), int(time.time() * 1000)
        run_id = reign(info["run_id"].encode(), info["master_replid"].encode())
        times = b"%d %d %d" % (born, born + _LIFE_MS, born + _LIFE_MS)
        for some in batched(bodies, _FILLING):
            pipeline = client.pipeline(transaction=False)
            for key in filter(None, (keys.of_request(body, ()) for body in some)):
                tail = entry.tail(key.identity, answer.SerializeToString())
                pipeline.hset(key.hash_key, b"e" + key.field, b"1 %b %b %b" % (run_id, times, tail))
            await pipeline.execute()


def batched(bodies: list[bytes], size: int) -> Iterator[list[bytes]]:
    """Like itertools.batched, which exists only from Python 3.12 on."""
    return (bodies[at : at + size] for at in range(0, len(bodies), size))


def _point(what: str, value: float, samples: list[tuple[float, float, float]]) -> Point:
    middle = [sorted(figures)[len(figures) // 2] for figures in zip(*samples, strict=True)]
    return Point(what, value, *(round(figure, 1) for figure in middle))


_cold = itertools.count(5_000_000)


async def _stampede(stack: Stack, count: int) -> Stampede:
    """Counts upstream calls by the fetches of each proxy."""
    names, body = [f"proxy-{number}" for number in range(1, count + 1)], messages.read(next(_cold))
    before = sum([await stack.fetched(name) for name in names])
    callers = [Caller(stack.servers[name].address) for name in names]
    await asyncio.gather(*(caller.read(body) for caller in callers for _ in range(_STAMPEDE)))
    for caller in callers:
        await caller.__aexit__(None, None, None)
    return Stampede(count, count * _STAMPEDE, sum([await stack.fetched(name) for name in names]) - before)


def shown(points: list[Point], stampedes: list[Stampede]) -> dict[str, object]:
    """As JSON."""
    return {"points": [asdict(point) for point in points], "stampedes": [asdict(each) for each in stampedes]}


def per_hit_of_redis(points: list[Point]) -> float:
    """Redis' CPU in us for a hit on a small entry, with many callers."""
    return next(point.redis_us for point in points if point.what == "callers" and point.value == 64)
