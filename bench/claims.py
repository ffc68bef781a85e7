"""`make bench`: the figures that the README claims, measured in one run; exit status 1 when one does not hold.

    python -m bench.claims [--json FILE]

Everything is real but the media service, a fake in this process that answers after 50 ms: latency of a direct call and
of a hit at one caller (interleaved, medians), 1000 reads of one model at once, start to serving, resident memory after
the start, and its peak while 50 MB uploads pass.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from proxy.pb import media_pb2 as pb
from tests.calling import Gateway
from tests.servers.process import ProxyProcess
from tests.servers.redis import RedisServer
from tests.servers.upstream import Context, FakeMedia, FakeMediaServer

UPSTREAM_DELAY = 0.050
_ROUNDS, _HITS_A_ROUND, _DIRECT_A_ROUND = 10, 100, 10
_UPLOAD = 50 << 20


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure and its bound."""

    what: str
    value: float
    unit: str
    bound: str
    holds: bool


class _SlowMedia(FakeMedia):
    """The fake service, with the time that signing and the database take."""

    async def GetFilesByModel(  # noqa: N802 -- media.proto names it
        self, request: pb.GetFilesByModelRequest, context: Context
    ) -> pb.GetFilesByModelResponse:
        await asyncio.sleep(UPSTREAM_DELAY)
        return await FakeMedia.GetFilesByModel(self, request, context)


def _memory(pid: int, field: str) -> float:
    """`VmRSS` now or `VmHWM` at its highest, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1024


async def _latency(proxy: ProxyProcess, upstream: FakeMediaServer) -> list[Claim]:
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
        Claim("direct call, p50 at one caller", call, "ms", "", holds=True),
        Claim("Redis hit, p50 at one caller", hit, "ms", "", holds=True),
        Claim("direct / hit", call / hit, "x", "at least 50", holds=call / hit >= 50),
    ]


async def _timed(gateway: Gateway, request: pb.GetFilesByModelRequest, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        await gateway.stub.GetFilesByModel(request)
        seconds.append(time.perf_counter() - begun)
    return seconds


async def _load(proxy: ProxyProcess, upstream: FakeMediaServer) -> Claim:
    before = upstream.media.count("GetFilesByModel")
    async with Gateway(proxy.addr) as gateway:
        await asyncio.gather(*(gateway.read(model_id=77) for _ in range(1000)))
    calls = upstream.media.count("GetFilesByModel") - before
    return Claim("upstream calls for 1000 reads at once", calls, "", "1", holds=calls == 1)


async def _upload(proxy: ProxyProcess) -> Claim:
    content = bytes(_UPLOAD)
    async with Gateway(proxy.addr) as gateway:
        for number in range(3):
            request = pb.UploadFileRequest(content=content, model_type="User", model_id=number, file_name="big.bin")
            assert (await gateway.stub.UploadFile(request)).success  # noqa: S101 -- a figure of a failed call is none
    peak = _memory(proxy.pid, "VmHWM")
    return Claim("peak memory over three 50 MB uploads", peak, "MB", "under 300", holds=peak < 300)


async def _measure() -> list[Claim]:
    async with RedisServer() as redis, FakeMediaServer(_SlowMedia()) as upstream:
        upstream.media.add("User", 1)
        begun = time.perf_counter()
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            started = time.perf_counter() - begun
            resident = _memory(proxy.pid, "VmRSS")
            claims = [
                Claim("start to serving", started, "s", "under 1.5", holds=started < 1.5),
                Claim("resident memory after start", resident, "MB", "under 90", holds=resident < 90),
                *await _latency(proxy, upstream),
                await _load(proxy, upstream),
                await _upload(proxy),
            ]
    return claims


def main() -> int:
    """Measures, prints a table, and says whether every bound holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    print("measuring, about 15 s ...", file=sys.stderr)
    claims = asyncio.run(_measure())
    for claim in claims:
        verdict = "" if not claim.bound else f"{claim.bound}: {'holds' if claim.holds else 'DOES NOT HOLD'}"
        print(f"{claim.what:<40} {claim.value:>9.2f} {claim.unit:<3} {verdict}")
    if options.json:
        options.json.write_text(json.dumps([asdict(claim) for claim in claims], indent=2) + "\n")
    return 0 if all(claim.holds for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
