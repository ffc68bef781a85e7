"""A grpc.aio client in this process, for calls that differ from each other, which h2load cannot make.

It uses about as much CPU as the server, so rates and latencies are partly its own; the CPU of the measured process is
not affected.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import grpc.aio

from bench.accounting import Tree
from bench.load import Sample
from bench.messages import READ

_FEW = 0.02
"""Share of reads that may be forwarded because Redis seems too slow on a busy machine."""


class Caller:
    """One channel to an address, like a gateway's."""

    def __init__(self, address: str) -> None:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._otherwise = Counter[str]()
        self._channel = grpc.aio.insecure_channel(address, options=unlimited)
        self._read: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(READ)

    async def read(self, body: bytes) -> tuple[bytes, str]:
        """Returns the answer's bytes and its `x-cache`, empty if there is none."""
        call = self._read(body)
        answer: bytes = await call
        trailing = dict(await call.trailing_metadata() or ())
        return answer, str(trailing.get("x-cache", ""))

    async def measure(self, measured: Tree, bodies: Iterable[bytes], x_cache: str, *, callers: int) -> Sample:
        """Reads all of them; RuntimeError unless nearly all answers have this `x_cache`."""
        waiting, self._otherwise = iter(bodies), Counter[str]()
        before, begun = measured.cpu(), time.perf_counter()
        spans = await asyncio.gather(*(self._one_by_one(waiting, x_cache) for _ in range(callers)))
        took, spent = time.perf_counter() - begun, measured.cpu() - before
        micros = [span * 1e6 for each in spans for span in each]
        if self._otherwise.total() > _FEW * len(micros):
            raise RuntimeError(
                f"of {len(micros)} reads, expected as {x_cache!r}, were answered {dict(self._otherwise)}"
            )
        cuts = statistics.quantiles(micros, n=100)
        return Sample(spent / len(micros) * 1e6, len(micros) / took, cuts[49], cuts[98])

    async def _one_by_one(self, bodies: Iterator[bytes], x_cache: str) -> list[float]:
        spans = []
        for body in bodies:
            begun = time.perf_counter()
            _, how = await self.read(body)
            spans.append(time.perf_counter() - begun)
            if how != x_cache:
                self._otherwise[how] += 1
        return spans

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()
