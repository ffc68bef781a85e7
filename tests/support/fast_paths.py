"""A core behind the fast path of either transport, for tests that look at which way a call takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from proxy.caching.hits import Hits
from proxy.calls.call import Metadata
from proxy.envoy.calls import Calls
from proxy.envoy.departures import Departures
from proxy.envoy.framing import framed
from proxy.store.redis_reads import Look
from proxy.transport.admission import Admission
from proxy.transport.layers import Layers
from proxy.transport.limits import Limits
from proxy.transport.server import Listener
from tests.envoy.test_calls import Exchange
from tests.support.in_process import Process, read_call
from tests.support.media_methods import GET_FILES_BY_MODEL

REQUEST = read_call().body


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call through either transport."""

    body: bytes
    trailers: dict[str, str]

    @property
    def x_cache(self) -> str:
        return self.trailers["x-cache"]


class Watched(Hits):
    """Notes the requests for which Redis was asked on the fast path."""

    def __init__(self, process: Process) -> None:
        core = process.core
        assert core.store is not None
        held_back = core.invalidations.held_back
        super().__init__(GET_FILES_BY_MODEL, core.keys, core.store.reads, core.cache.policy, held_back, process.metrics)
        self.asked: list[bytes] = []

    def begin(self, body: bytes, metadata: Metadata) -> Look | None:
        look = super().begin(body, metadata)
        if look is not None:
            self.asked.append(body)
        return look


@dataclass(slots=True)
class Way:
    """A core behind one transport. `ask` with this metadata."""

    process: Process
    admission: Admission
    ask: Callable[[Metadata], Awaitable[Answer]]
    hits: Watched
    calls: Calls | None = None
    """The application inside Envoy, for callers that do what no gRPC library does."""

    @property
    def asked(self) -> list[bytes]:
        """The requests for which Redis was asked on the fast path."""
        return self.hits.asked


@asynccontextmanager
async def over_grpcio(process: Process) -> AsyncIterator[Way]:
    admission, hits = Admission(10), Watched(process)
    core = process.core
    listener = Listener("127.0.0.1:0", core.routes, core.upstream, process.metrics, admission, hits=(hits,))
    port = await listener.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET_FILES_BY_MODEL)

        async def ask(metadata: Metadata) -> Answer:
            call = method(REQUEST, metadata=metadata, timeout=30)
            body = await call
            return Answer(body, {key: str(value) for key, value in await call.trailing_metadata() or ()})

        yield Way(process, admission, ask, hits)
    await listener.stop()


@asynccontextmanager
async def over_envoy(process: Process) -> AsyncIterator[Way]:
    admission, hits, limits = Admission(10), Watched(process), Limits()
    layers = Layers(process.metrics, admission, limits)
    departures = Departures(asyncio.get_running_loop().time)
    calls = Calls(process.core.routes, layers, departures, 60.0, limits, ((hits,), admission))

    async def ask(metadata: Metadata) -> Answer:
        headers = tuple((key.encode(), str(value).encode()) for key, value in metadata)
        exchange = await Exchange(framed(REQUEST), headers=headers).of(calls, GET_FILES_BY_MODEL)
        _, *pieces, trailers = exchange.sent
        found = {key.decode(): value.decode() for key, value in trailers["headers"]}
        assert found.pop("grpc-status") == "0"
        return Answer(b"".join(piece["body"] for piece in pieces)[5:], found)

    yield Way(process, admission, ask, hits, calls)
