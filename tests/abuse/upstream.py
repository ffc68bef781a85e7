"""The media service behind an abused proxy, as a process of its own: `python -m tests.abuse.upstream PORT`.

It serves any method, as raw bytes. The last part of the path decides what happens: `GetFilesByModel` answers with a
file, `GetAllMedia` with 1 MiB, `Hold` reads no message and never answers, `Pour` streams messages for as long as they
are read, and any other method sends each message back.
"""

import asyncio
import sys
from functools import partial
from typing import Any

import grpc
import grpc.aio

from proxy.pb import media_pb2 as pb
from tests.support.raw_upstream import BIG, Context

POURED = 512 << 10
"""Bytes of each message of `Pour`."""


def named(model_type: str, model_id: int, collection: str, authorization: str = "") -> str:
    """The text that only the answer to this request contains."""
    return f"{model_type!r} {model_id} {collection!r} {authorization!r}"


def answer(asked: bytes, authorization: str) -> bytes:
    """An answer of one file, whose uuid unambiguously names the request and the caller."""
    request = pb.GetFilesByModelRequest.FromString(asked)
    uuid = named(request.model_type, request.model_id, request.collection_name, authorization)
    media = pb.Media(id=1, model_type=request.model_type, model_id=request.model_id, uuid=uuid, file_name="a.jpg")
    data = pb.GetFilesByModelData(media=[media], total=1, page=1, per_page=1)
    return pb.GetFilesByModelResponse(success=True, data=data).SerializeToString()


async def _files(_requests: object, context: Context) -> None:
    metadata = dict(context.invocation_metadata() or ())
    await context.write(answer(await context.read(), str(metadata.get("authorization", ""))))


async def _hold(_requests: object, _context: Context) -> None:
    await asyncio.Event().wait()


async def _pour(_requests: object, context: Context) -> None:
    print("pouring", flush=True)  # noqa: T201 -- for `Scene.poured`
    while True:
        await context.write(bytes(POURED))


async def _large(_requests: object, context: Context) -> None:
    await context.read()
    await context.write(bytes(1 << 20))


async def _echo(_requests: object, context: Context) -> None:
    message: object = await context.read()
    while isinstance(message, bytes):
        await context.write(message)
        message = await context.read()


_BEHAVIOURS = {"GetFilesByModel": _files, "Hold": _hold, "Pour": _pour, "GetAllMedia": _large}


class _Anything(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        behaviour = _BEHAVIOURS.get(handler_call_details.method.rpartition("/")[2], _echo)
        return grpc.stream_stream_rpc_method_handler(partial(behaviour))


async def main(port: int) -> None:
    """Serves until killed."""
    server = grpc.aio.server(handlers=[_Anything()], options=(*BIG, ("grpc.so_reuseport", 0)))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
