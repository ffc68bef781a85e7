"""`Arrived`: the handler of one call, which keeps the metadata that grpc.aio looked it up by.

grpc.aio copies a call's metadata out of the core to look up its handler, and copies it again each time the handler asks
for it. A handler made for one call alone keeps the first copy, which saves 14,000 of the 493,000 instructions of a hit
(callgrind).
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc.aio

from proxy.calls.call import Metadata

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[Metadata, object, Context], Awaitable[bytes | None]]
"""A coroutine function, or a `partial` of one, but not of a bound method: grpc.aio takes that for a blocking function.

The second argument is grpc.aio's iterator over the requests, which nobody here uses.
"""


class Arrived:
    """A `grpc.RpcMethodHandler` of raw bytes, for one call. `stream`: the answer is a stream of messages.

    Requests are always declared as a stream, so that grpc.aio hands the call over before its request is read.
    """

    __slots__ = ("response_streaming", "stream_stream", "stream_unary")

    request_streaming = True
    request_deserializer = None
    response_serializer = None

    def __init__(self, answer: Answer, metadata: Metadata, *, stream: bool = False) -> None:
        self.response_streaming = stream
        self.stream_unary = self.stream_stream = partial(answer, metadata)
