"""A trace of reads and writes like an application's, compared with an ideal cache; every answer is checked.

It makes 100,000 reads over 10,000 models (Zipf, s = 1), with 1 % of writes (uniform) among them, each a commit at the
origin followed by its event. The ideal cache is unbounded and invalidated at the moment of the commit. The caching core
runs in this process, on a real Redis, so that a write knows when its invalidation was applied, which `Checker` needs.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

import grpc

from bench.targets import Target
from proxy.calls.call import Call
from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.consistency.checker import Asked, Checker, stamped
from tests.support.in_process import Process, Stack
from tests.support.media_methods import GET_FILES_BY_MODEL
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import Context, FakeMedia

READS, MODELS, WRITES = 100_000, 10_000, 0.01
_AT_ONCE = 16
_SEED = 7
SHARE = 0.99


class _Stamped(FakeMedia):
    """Answers with the current version of a model."""

    def __init__(self, checker: Checker) -> None:
        super().__init__()
        self._checker = checker
        self.asked = 0

    async def GetFilesByModel(  # noqa: N802 -- media.proto names it
        self, request: pb.GetFilesByModelRequest, _: Context
    ) -> pb.GetFilesByModelResponse:
        self.asked += 1
        asked = Asked(request.model_id)
        return stamped(asked, self._checker.version(asked.model))


@dataclass(slots=True)
class Found:
    """The results of a trace."""

    answers: Counter[str] = field(default_factory=Counter)
    """Reads by `x-cache`."""
    ideal: int = 0
    """Hits of the ideal cache."""
    fetches: int = 0
    writes: int = 0
    wrong: list[str] = field(default_factory=list)
    """Stale, foreign and impossible answers."""

    def shown(self) -> dict[str, object]:
        """As JSON."""
        counts = {"ideal": self.ideal, "fetches": self.fetches, "writes": self.writes}
        return {"answers": dict(self.answers), **counts, "wrong": self.wrong}

    @property
    def targets(self) -> list[Target]:
        share = self.answers["hit"] / self.ideal
        return [
            Target(f"hit ratio over a trace of {READS} reads / an ideal cache's", share, SHARE, "", at_least=True),
            Target("stale answers in that trace", len(self.wrong), 0, ""),
        ]


async def run() -> Found:
    """Takes about a minute."""
    found, checker = Found(), Checker(asyncio.get_running_loop().time)
    async with RedisServer() as redis, Stack(redis.addr) as stack:
        stack.upstream.media = _Stamped(checker)
        await stack.upstream.stop()
        await stack.upstream.start()
        process = await stack.process()
        chance = random.Random(_SEED)  # noqa: S311 -- the same trace each time
        weights = list(accumulate(1 / rank for rank in range(1, MODELS + 1)))
        models = iter(chance.choices(range(1, MODELS + 1), cum_weights=weights, k=READS))
        cached: set[int] = set()

        async def reader() -> None:
            for model_id in models:
                if chance.random() < WRITES:
                    await _write(process, checker, cached, chance.randint(1, MODELS))
                    found.writes += 1
                found.ideal += model_id in cached
                cached.add(model_id)
                found.answers[await _read(process, checker, Asked(model_id))] += 1

        await asyncio.gather(*(reader() for _ in range(_AT_ONCE)))
        found.fetches, found.wrong = stack.upstream.media.asked, checker.violations
    return found


async def _write(process: Process, checker: Checker, cached: set[int], model_id: int) -> None:
    model = Model.of("User", model_id)
    version = checker.commit(model)
    cached.discard(model_id)
    await process.event(model)
    checker.applied(model, version, "event")


async def _read(process: Process, checker: Checker, asked: Asked) -> str:
    reading = checker.began(asked)
    call = Call(GET_FILES_BY_MODEL, asked.request.SerializeToString())
    reply = await process.core.methods.read(call)
    if reply.code is not grpc.StatusCode.OK or reply.body is None:
        raise RuntimeError(f"{asked}: {reply.code.name} {reply.details}")
    how = next(str(value) for key, value in reply.trailing_metadata if key == "x-cache")
    checker.ended(reading, pb.GetFilesByModelResponse.FromString(reply.body), how)
    return how
