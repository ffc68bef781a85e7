"""The figures that the README claims, each with its bound.

Everything is real except the media service, a fake in this process that answers after 50 ms. Measured are the latency
of a direct call and of a hit with one caller (interleaved, medians), 1000 concurrent reads of one model, the time from
start to serving, resident memory after the start, and its peak during 50 MB uploads.
"""

import asyncio
import statistics
import time

from bench.accounting import Tree
from bench.targets import Target
from proxy.pb import media_pb2 as pb
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import Context, FakeMedia, FakeMediaServer

UPSTREAM_DELAY = 0.050
_ROUNDS, _HITS_A_ROUND, _DIRECT_A_ROUND = 10, 100, 10
_UPLOAD = 50 << 20


class _SlowMedia(FakeMedia):
    """The fake service; its delay stands for signing and the database."""

    async def GetFilesByModel(  # noqa: N802 -- media.proto names it
        self, request: pb.GetFilesByModelRequest, context: Context
    ) -> pb.GetFilesByModelResponse:
        await asyncio.sleep(UPSTREAM_DELAY)
        return await FakeMedia.GetFilesByModel(self, request, context)


async def _latency(proxy: ProxyProcess, upstream: FakeMediaServer) -> list[Target]:
    hits: list[float] = []
    direct: list[float] = []
    request = pb.GetFilesByModelRequest(model_type="User", model_id=1, collection_name="avatars", page=1, per_page=1)
    async with Gateway(proxy.addr) as through, Gateway(upstream.addr) as straight:
        await through.read()
        for _ in range(_ROUNDS):
            hits += await _timed(through, request, _HITS_A_ROUND)
            direct += await _timed(straight, request, _DIRECT_A_ROUND)
    hit, call = statistics.median(hits) * 1000, statistics.median(direct) * 1000
    return [
        Target("p50 of a direct call to a service of 50 ms, 1 caller", call, None, "ms"),
        Target("p50 of a hit in front of that service, 1 caller", hit, None, "ms"),
        Target("direct call / hit", call / hit, 50, at_least=True),
    ]


async def _timed(gateway: Gateway, request: pb.GetFilesByModelRequest, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        await gateway.stub.GetFilesByModel(request)
        seconds.append(time.perf_counter() - begun)
    return seconds


async def _load(proxy: ProxyProcess, upstream: FakeMediaServer) -> Target:
    before = upstream.media.count("GetFilesByModel")
    async with Gateway(proxy.addr) as gateway:
        await asyncio.gather(*(gateway.read(model_id=77) for _ in range(1000)))
    calls = upstream.media.count("GetFilesByModel") - before
    return Target("upstream calls for 1000 concurrent reads of one model", calls, 1, "")


async def _upload(proxy: ProxyProcess) -> Target:
    content = bytes(_UPLOAD)
    async with Gateway(proxy.addr) as gateway:
        for number in range(3):
            request = pb.UploadFileRequest(content=content, model_type="User", model_id=number, file_name="big.bin")
            assert (await gateway.stub.UploadFile(request)).success  # noqa: S101 -- a failed call gives no figure
    peak = Tree(proxy.pid).peak()
    return Target("peak memory during three 50 MB uploads", peak, 300, "MB")


async def measure() -> list[Target]:
    """Measures all claims, in about 10 s."""
    async with RedisServer() as redis, FakeMediaServer(_SlowMedia()) as upstream:
        upstream.media.add("User", 1)
        begun = time.perf_counter()
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            started = time.perf_counter() - begun
            resident = Tree(proxy.pid).resident()
            claims = [
                Target("start to serving", started, 1.5, "s"),
                Target("resident memory after start", resident, 65, "MB"),
                *await _latency(proxy, upstream),
                await _load(proxy, upstream),
                await _upload(proxy),
            ]
    return claims
