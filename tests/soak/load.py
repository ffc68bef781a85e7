"""`python -m tests.soak.load`: all kinds of calls and events, many cut short; in a separate process, with upstream.

    --through PROXY:PORT --upstream PORT --rabbit URL --calls 20000 --stations 20 --seed 1

It writes `upstream` once that can be called, and `station <calls>` when no call is in progress and no connection open;
it continues when it reads a line. The calls are drawn from the seed; which of them are cut short, and where, depends on
the machine.
"""

# ruff: noqa: T201, S311 -- it talks through its output; a schedule to repeat, no secret

import argparse
import asyncio
import gc
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.consistency.publisher import Publisher
from tests.consistency.traffic import media_event
from tests.soak.connections import connections
from tests.support.servers.waiting import until

_SERVICE = "/media.MediaService/"
_CALLERS, _CHANNELS = 48, 4
_CALLS_OF_A_CHANNEL = 400
_CUT_SHORT = 0.2
_MODELS = 150
_KINDS = {"hit": 50, "fresh": 8, "read": 12, "caller": 6, "by id": 8, "stream": 6, "upload": 5, "delete": 3, "odd": 2}
_EVENT_EACH = 50
_BROKEN = "broken on purpose"
_ENDED_BEFORE = "Internal error from Core"
"""grpc.aio 1.85 reports this instead of the status if a call has ended before it is written to."""


class Upstream(grpc.GenericRpcHandler):
    """Answers after some milliseconds, in raw bytes; now and then with a failure of either kind."""

    def __init__(self, random: random.Random) -> None:
        self._random = random
        file = pb.Media(
            id=1, model_type="User", model_id=1, name="a" * 40, file_name="a.jpg", collection_name="avatars"
        )
        page = pb.GetFilesByModelData(media=[file] * 3, total=3)
        self._answers = {
            "GetFilesByModel": pb.GetFilesByModelResponse(success=True, data=page).SerializeToString(),
            "GetFileByID": pb.GetFileByIDResponse(success=True, data=file).SerializeToString(),
            "UploadFile": pb.UploadFileResponse(success=True, data=file).SerializeToString(),
            "DeleteFile": pb.DeleteFileResponse(success=True).SerializeToString(),
        }

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        answer = self._answers.get(details.method.removeprefix(_SERVICE))
        if answer is None:
            return grpc.stream_stream_rpc_method_handler(self._echo)

        async def unary(_: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
            await asyncio.sleep(self._random.expovariate(1 / 0.003))
            chance = self._random.random()
            if chance < 0.01:
                await context.abort(grpc.StatusCode.UNAVAILABLE, _BROKEN)
            return b"" if chance < 0.02 else answer

        return grpc.unary_unary_rpc_method_handler(unary)

    async def _echo(self, requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        async for request in requests:
            await context.write(request)


class Load:
    """One per run. `ended` counts how the calls ended."""

    def __init__(self, through: str, random: random.Random, publisher: Publisher) -> None:
        self._through = through
        self._port = int(through.rpartition(":")[2])
        self._random = random
        self._publisher = publisher
        self._channels: list[tuple[grpc.aio.Channel, int]] = []
        self._left = 0
        self._hot = [self._read(model, "User") for model in range(20)]
        self._picture = bytes(range(256)) * 64
        self.ended: Counter[str] = Counter()

    async def chunk(self, calls: int) -> None:
        """Makes this many calls, some dozens at a time; returns when all have ended and every connection is closed."""
        self._left = calls
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CALLERS):
                tasks.create_task(self._caller())
        while self._channels:
            await self._channels.pop()[0].close()
        await self._publisher.idle()
        await until(self._unconnected, "all connections to the proxy to be closed")

    def _unconnected(self) -> bool:
        """Waits until closed channels lose their connections: timers keep the calls on them alive for a while."""
        gc.collect()
        return all(one.peer != self._port for one in connections(os.getpid()))

    async def _caller(self) -> None:
        while self._left > 0:
            self._left -= 1
            if self._left % _EVENT_EACH == 0:
                self._publisher.send(media_event(Model.of("User", self._random.randrange(_MODELS)), "avatars"))
            [kind] = self._random.choices(list(_KINDS), weights=list(_KINDS.values()))
            self.ended[await self._one(kind, await self._channel())] += 1

    async def _channel(self) -> grpc.aio.Channel:
        """Returns one of a few channels; each is closed after some hundred calls, with the calls in progress on it."""
        at = self._random.randrange(_CHANNELS)
        if at >= len(self._channels):
            options = [("grpc.use_local_subchannel_pool", 1)]
            self._channels.append((grpc.aio.insecure_channel(self._through, options=options), _CALLS_OF_A_CHANNEL))
            return self._channels[-1][0]
        channel, left = self._channels[at]
        self._channels[at] = (channel, left - 1)
        if left == 0:
            del self._channels[at]
            await channel.close()
            return await self._channel()
        return channel

    async def _one(self, kind: str, channel: grpc.aio.Channel) -> str:
        try:
            if kind == "stream":
                await self._stream(channel)
            else:
                await self._unary(kind, channel)
        except grpc.aio.AioRpcError as error:
            if error.details() == _ENDED_BEFORE:
                return "cut short"
            return "broken" if error.details() == _BROKEN else error.code().name
        except (
            asyncio.CancelledError,
            asyncio.InvalidStateError,
            grpc.aio.UsageError,
        ):  # the latter: of closed channels
            return "cut short"
        return "OK"

    async def _unary(self, kind: str, channel: grpc.aio.Channel) -> None:
        model = self._random.randrange(_MODELS)
        method, body, metadata = "GetFilesByModel", self._random.choice(self._hot), ()
        more: dict[str, Callable[[], tuple[str, bytes, Any]]] = {
            "fresh": lambda: (method, body, (("cache-control", "no-cache"),)),
            "read": lambda: (method, self._read(model, "Post"), ()),
            "caller": lambda: (method, body, (("authorization", f"Bearer {model % 9}"),)),
            "by id": lambda: ("GetFileByID", pb.GetFileByIDRequest(id=model).SerializeToString(), ()),
            "upload": lambda: ("UploadFile", self._upload(model), ()),
            "delete": lambda: ("DeleteFile", pb.DeleteFileRequest(id=model).SerializeToString(), ()),
            "odd": lambda: (method, b"\xff\xff", ()),
        }
        if kind in more:
            method, body, metadata = more[kind]()
        call: Any = _untyped(channel).unary_unary(_SERVICE + method)(body, metadata=metadata, timeout=self._deadline())
        await self._cut_or(call, call)

    async def _stream(self, channel: grpc.aio.Channel) -> None:
        call: Any = _untyped(channel).stream_stream("/other.Service/Talk")(timeout=self._deadline())

        async def talk() -> None:
            for _ in range(3):
                await call.write(self._picture)
                await call.read()
            await call.done_writing()
            await call.read()

        await self._cut_or(call, talk())

    async def _cut_or(self, call: Any, work: Awaitable[object]) -> None:
        """Waits for the call's end, or cancels it at some point before."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        if self._random.random() < _CUT_SHORT:
            loop.call_later(self._random.expovariate(1 / 0.004), task.cancel)
        # grpc.aio 1.85: `write` never returns on a call that ended before its metadata was sent.
        call.add_done_callback(lambda _: loop.call_later(0.1, task.cancel))
        try:
            await task
        finally:
            call.cancel()

    def _deadline(self) -> float | None:
        return self._random.choice((None, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0, 0.004))

    @staticmethod
    def _read(model: int, model_type: str) -> bytes:
        request = pb.GetFilesByModelRequest(model_type=model_type, model_id=model, page=1, per_page=10)
        return request.SerializeToString()

    def _upload(self, model: int) -> bytes:
        content = self._picture[: self._random.randrange(len(self._picture))]
        return pb.UploadFileRequest(content=content, model_type="Post", model_id=model).SerializeToString()


def _untyped(channel: grpc.aio.Channel) -> Any:
    """As raw bytes, which the stubs do not know."""
    return channel


async def _tell(line: str) -> None:
    """Returns once we are to go on."""
    print(line, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _main(given: argparse.Namespace) -> None:
    source = random.Random(given.seed)
    server = grpc.aio.server(handlers=[Upstream(source)], options=[("grpc.so_reuseport", 0)])
    server.add_insecure_port(f"127.0.0.1:{given.upstream}")
    await server.start()
    await _tell("upstream")
    publisher = Publisher(given.rabbit)
    events = asyncio.create_task(publisher.run())
    load = Load(given.through, source, publisher)
    for station in range(1, given.stations + 1):
        calls = given.calls * station // given.stations - given.calls * (station - 1) // given.stations
        await load.chunk(calls)
        await _tell(f"station {given.calls * station // given.stations}")
    print(" ".join(f"{name.replace(' ', '-')}={count}" for name, count in sorted(load.ended.items())), flush=True)
    events.cancel()
    await asyncio.gather(events, return_exceptions=True)
    await server.stop(None)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--through", required=True)
    parser.add_argument("--upstream", required=True, type=int)
    parser.add_argument("--rabbit", required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--stations", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
