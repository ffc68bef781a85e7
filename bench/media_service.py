"""A media service for the benchmarks, in a separate process: `python -m bench.media_service PORT`.

Plain grpc.aio with generated code, like the cheapest real service; `--delay` stands for signing and the database.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import grpc.aio

from bench import messages
from bench.serving import serve
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceServicer, add_MediaServiceServicer_to_server

Context = grpc.aio.ServicerContext[Any, Any]


class _Media(MediaServiceServicer):
    def __init__(self, delay: float) -> None:
        self._delay = delay

    async def GetFilesByModel(  # noqa: N802 -- media.proto names it
        self, request: pb.GetFilesByModelRequest, _: Context
    ) -> pb.GetFilesByModelResponse:
        if self._delay:
            await asyncio.sleep(self._delay)
        return messages.answer(request)

    async def GetFileByID(self, _: pb.GetFileByIDRequest, __: Context) -> pb.GetFileByIDResponse:  # noqa: N802
        return messages.forwarded()


class _Download(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return (
            grpc.unary_stream_rpc_method_handler(_mebibyte) if handler_call_details.method == messages.STREAM else None
        )


async def _mebibyte(_: bytes, __: Context) -> AsyncIterator[bytes]:
    for _number in range(messages.STREAM_MESSAGES):
        yield messages.STREAM_MESSAGE


async def _serve(port: int, *, delay: float) -> None:
    servicer = _Media(delay)  # type: ignore[abstract] # the rest is UNIMPLEMENTED
    await serve(port, [_Download()], partial(add_MediaServiceServicer_to_server, servicer))


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before a GetFilesByModel is answered")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, delay=given.delay))


if __name__ == "__main__":
    main()
