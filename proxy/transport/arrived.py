"""`Arrived`: a call as grpc.aio asks whose it is, with its metadata.

grpc.aio takes a call's metadata out of the core to ask for its handler, and once more whenever the handler asks for it:
33,000 instructions, a tenth of all that a bare echo costs. So what answers a call is made for it alone, and has the
metadata with it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from proxy.calls.call import Metadata

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[Metadata, Context], Awaitable[bytes | None]]


class Arrived:
    """A `grpc.RpcMethodHandler` of raw bytes, for one call. `stream`: it answers with messages of its own, and
    requests are read one by one in any case, so that a call is handed over before its request is read.
    """

    __slots__ = ("_answer", "_metadata", "response_streaming")

    request_streaming = True
    request_deserializer = None
    response_serializer = None

    def __init__(self, answer: Answer, metadata: Metadata, *, stream: bool = False) -> None:
        self._answer = answer
        self._metadata = metadata
        self.response_streaming = stream

    async def stream_unary(self, _requests: object, context: Context) -> bytes | None:
        """Grpc.aio's name for what answers with one message."""
        return await self._answer(self._metadata, context)

    async def stream_stream(self, _requests: object, context: Context) -> None:
        """Grpc.aio's name for what answers with messages."""
        await self._answer(self._metadata, context)
