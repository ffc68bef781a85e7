"""What is compared: `Subject`s, each a kind of call to one server of the stack, and the check of its answers.

To compare another transport, name it in `stack.TRANSPORTS`; for another program, add a server and a subject.
"""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench import load, messages
from bench.caller import Caller
from bench.load import Asked, Sample
from bench.stack import SLOW, TRANSPORTS, Stack
from proxy.pb import media_pb2 as pb

ECHO = "bare grpc.aio echo"
LOOK = "bare grpc.aio, one HGET"
SHAPE = "bare grpc.aio, one HGET in a hit's shape"
FORWARDING = "bare grpc.aio, forwarded"
PLAIN_ENVOY = "Envoy, forwarded"
ORIGIN = "origin (nghttpd), direct"
_FRAME = len(messages.framed(b""))

_TRIES, _NEARLY_ALL = 20, 0.98
_unread = itertools.count(1_000_000)
"""Models that have not been read through any of the proxies, which share a Redis."""

Run = Callable[[Stack, int, int], Awaitable[Sample]]
"""Makes calls with this many callers, and this many calls in total."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the table."""

    name: str
    server: str
    run: Run
    slowest: float = 0.0
    """Minimum duration of a call in seconds, with any server."""
    unary: bool = True


def _fixed(server: str, asked: Asked) -> Run:
    async def run(stack: Stack, callers: int, calls: int) -> Sample:
        asks = stack.servers[server]
        return await load.run(asks.address, asks.tree, asked, callers=callers, calls=calls)

    return run


def _hits(server: str) -> Run:
    """If Redis seems slow, on a busy machine, a proxy forwards reads that would be hits; such a run does not count."""

    async def run(stack: Stack, callers: int, calls: int) -> Sample:
        asks = stack.servers[server]
        for _ in range(_TRIES):
            before = await stack.hits(server)
            sample = await load.run(asks.address, asks.tree, READ, callers=callers, calls=calls)
            hits = await stack.hits(server) - before
            if hits >= _NEARLY_ALL * calls:
                return sample
        raise RuntimeError(
            f"{server}: {hits} hits in {calls} reads of a stored answer, {_TRIES} times: Redis is too slow"
        )

    return run


def _misses(server: str) -> Run:
    """Each call reads a model that has not been read before."""

    async def run(stack: Stack, callers: int, calls: int) -> Sample:
        asks = stack.servers[server]
        bodies = (messages.read(next(_unread)) for _ in range(calls))
        async with Caller(asks.address) as caller:
            return await caller.measure(asks.tree, bodies, "miss", callers=callers)

    return run


def _answer_to_read() -> int:
    request = pb.GetFilesByModelRequest.FromString(messages.read())
    return _FRAME + messages.answer(request).ByteSize()


def _forwarded() -> Asked:
    request = pb.GetFileByIDRequest(id=1).SerializeToString()
    return Asked(messages.FORWARDED, request, _FRAME + messages.forwarded().ByteSize())


READ = Asked(messages.READ, messages.read(), _answer_to_read())
FORWARDED = _forwarded()
STREAM = Asked(messages.STREAM, b"", messages.STREAM_MESSAGES * (_FRAME + len(messages.STREAM_MESSAGE)))


def of_transport(transport: str) -> tuple[Subject, ...]:
    """The rows of a proxy with this `TRANSPORT`."""
    server = f"proxy-{transport}"
    return (
        Subject(f"proxy ({transport}), hit", server, _hits(server)),
        Subject(f"proxy ({transport}), forwarded", server, _fixed(server, FORWARDED)),
        Subject(f"proxy ({transport}), miss", server, _misses(server)),
        Subject(f"proxy ({transport}), 1 MiB stream", server, _fixed(server, STREAM), unary=False),
    )


ALL = (
    Subject(ORIGIN, "origin", _fixed("origin", READ)),
    Subject("media service of 50 ms, direct", "slow", _fixed("slow", READ), slowest=SLOW),
    Subject(ECHO, "echo", _fixed("echo", READ)),
    Subject(LOOK, "look", _fixed("look", READ)),
    Subject(SHAPE, "shape", _fixed("shape", READ)),
    Subject(FORWARDING, "pass", _fixed("pass", FORWARDED)),
    *itertools.chain.from_iterable(of_transport(transport) for transport in TRANSPORTS),
    Subject("naive cache-aside, hit", "naive", _fixed("naive", READ)),
    Subject(PLAIN_ENVOY, "envoy", _fixed("envoy", FORWARDED)),
    Subject(f"{ORIGIN}, 1 MiB stream", "origin", _fixed("origin", STREAM), unary=False),
    Subject("Envoy, 1 MiB stream", "envoy", _fixed("envoy", STREAM), unary=False),
)
SERVERS = tuple(dict.fromkeys(subject.server for subject in ALL if subject.server != "origin"))


async def check(stack: Stack) -> None:
    """Reads through every server that answers reads; RuntimeError unless all give the expected answer.

    Each caching server is called twice, so that later reads of this request are hits.
    """
    right = messages.answer(pb.GetFilesByModelRequest.FromString(messages.read()))
    right = _without_date(right.SerializeToString())
    for name in (
        "origin",
        "slow",
        "echo",
        "look",
        "shape",
        "naive",
        *(f"proxy-{transport}" for transport in TRANSPORTS),
    ):
        if name not in stack.servers:
            continue
        async with Caller(stack.servers[name].address) as caller:
            answers = [await caller.read(messages.read()) for _ in range(2)]
        if any(_without_date(answer) != right for answer, _ in answers):
            raise RuntimeError(f"{name} answers a read otherwise than it should")
        if name.startswith("proxy-") and answers[-1][1] != "hit":  # the first may be one: they share a Redis
            raise RuntimeError(f"{name} answered a second read as {answers[-1][1]!r}, expected a hit")


def _without_date(answer: bytes) -> pb.GetFilesByModelResponse:
    """Removes the presigned URL, which contains the time of signing."""
    response = pb.GetFilesByModelResponse.FromString(answer)
    for media in response.data.media:
        media.presigned_url = media.presigned_url.partition("X-Amz-Date")[0]
    return response
