"""The client and the server of `go/` with grpc-python, for machines without Go. The argument is `client` or `server`.

Input and output are lines of JSON, as defined in go/wire/wire.go.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import grpc.aio
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import status_pb2

from tests.support.raw_upstream import BIG

Json = dict[str, Any]
_LEFT_OUT = frozenset({"user-agent", "date", "answer", "x-cache"})
_RICH = "grpc-status-details-bin"


def pairs(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[list[str]]:
    """Metadata sorted by key, with the values of each key in their order."""
    found = [
        [key, (value.encode() if isinstance(value, str) else value).hex()]
        for key, value in metadata or ()
        if key not in _LEFT_OUT
    ]
    return sorted(found, key=lambda pair: pair[0])


def metadata_of(given: list[list[str]]) -> list[tuple[str, str | bytes]]:
    """The inverse of `pairs`."""
    values = ((key, bytes.fromhex(value)) for key, value in given)
    return [(key, value if key.endswith("-bin") else value.decode()) for key, value in values]


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 -- that is its answer


class Server(grpc.GenericRpcHandler):
    """Answers any method as the call's metadata `answer` says."""

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        async def serve(_: object, context: Any) -> None:
            await self._serve(details.method, context)

        return grpc.stream_stream_rpc_method_handler(serve)

    async def _serve(self, method: str, context: Any) -> None:
        metadata = context.invocation_metadata() or ()
        remaining = context.time_remaining()
        seen: Json = {"method": method, "authority": [], "metadata": pairs(metadata), "remaining": remaining}
        seen |= {"messages": [], "cancelled": False}
        answer = json.loads(dict(metadata).get("answer", '{"echo": true}'))
        try:
            await self._respond(context, answer, seen["messages"])
        except asyncio.CancelledError:
            seen["cancelled"] = True
            raise
        finally:
            _tell(seen)

    async def _respond(self, context: Any, answer: Json, messages: list[str]) -> None:
        header, trailer = metadata_of(answer.get("header") or []), metadata_of(answer.get("trailer") or [])
        if answer.get("header_first") or header:
            await context.send_initial_metadata(header)
        while isinstance(message := await context.read(), bytes):
            messages.append(base64.b64encode(message).decode())
            if answer.get("echo"):
                await context.write(message)
            if answer.get("early"):
                break
        else:
            await context.read()  # if the call was cancelled, this ends only after the cancellation was reported
            await asyncio.sleep(0)
        for body in answer.get("messages") or ():
            await context.write(base64.b64decode(body))
        if code := answer.get("code"):
            if rich := answer.get("rich"):
                detail = any_pb2.Any()
                detail.Pack(wrappers_pb2.StringValue(value=rich))
                status = status_pb2.Status(code=code, message=answer["details"], details=[detail])
                trailer.append((_RICH, status.SerializeToString()))
            [known] = [each for each in grpc.StatusCode if each.value[0] == code]
            await context.abort(known, answer["details"], tuple(trailer))
        context.set_trailing_metadata(tuple(trailer))


async def serve() -> None:
    """Serves until it is killed."""
    server = grpc.aio.server(handlers=[Server()], options=BIG)
    _tell(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


async def calls() -> None:
    """Makes the call that each line of standard input describes."""
    channels: dict[str, grpc.aio.Channel] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        channel = channels.get(asked["target"])
        if channel is None:
            channel = channels[asked["target"]] = grpc.aio.insecure_channel(asked["target"], options=BIG)
        _tell(await _call(channel, asked))


async def _call(channel: grpc.aio.Channel, asked: Json) -> Json:
    timeout = asked["timeout"] / 1e9 or None
    if timeout and timeout > 1e9:
        timeout = 1e9  # gRPC's core mistakes a deadline centuries away for one that has passed
    begun: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(asked["method"])
    call = begun(metadata=tuple(metadata_of(asked["metadata"])), timeout=timeout)
    messages: list[str] = []
    with suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.CancelledError, asyncio.InvalidStateError):
        await _talk(call, asked, messages)
    code, details, trailing = await call.code(), await call.details(), await call.trailing_metadata()
    rich = [value for key, value in trailing or () if key == _RICH and isinstance(value, bytes)]
    return {
        "code": code.value[0],
        "details": details or "",
        "rich": len(status_pb2.Status.FromString(rich[0]).details) if rich else 0,
        "header": pairs(await call.initial_metadata()),
        "trailer": pairs(trailing),
        "messages": messages,
    }


async def _talk(call: grpc.aio.StreamStreamCall[bytes, bytes], asked: Json, messages: list[str]) -> None:
    async def read() -> bool:
        message: object = await call.read()
        if not isinstance(message, bytes):
            return False
        messages.append(base64.b64encode(message).decode())
        if len(messages) == asked["cancel_after"]:
            call.cancel()
        return True

    await call.wait_for_connection()
    if asked["header_first"]:
        await call.initial_metadata()
    for body in asked["messages"]:
        # Not `write`, which replaces the status by INTERNAL if the server ends the call meanwhile.
        await call._cython_call.send_serialized_message(base64.b64decode(body))  # type: ignore[attr-defined]
        if asked["ping_pong"] and not await read():
            return
    await call.done_writing()
    while await read():
        pass


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "server" else calls())
