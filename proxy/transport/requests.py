"""Reads the single request of a unary call from grpc.aio, within a time limit, and detects that none arrived."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.transport.layers import NO_REQUEST, Progress
from proxy.transport.read_timeout import ReadTimeout

Context = grpc.aio.ServicerContext[Any, Any]

_TOO_LATE = Reply(
    code=StatusCode.DEADLINE_EXCEEDED, details="no request came within CALL_TIMEOUT", limit="CALL_TIMEOUT"
)


async def read_message(context: Context, unread: Callable[[], None], read_timeout: ReadTimeout | None) -> bytes | Reply:
    """The request message, or the Reply for a call that sent none. `read_timeout` is for calls without a deadline.

    `unread` is called for a call that ends before its request arrived. Either its caller left or gRPC's core refused
    it; the core does not say which.
    """
    task = None if read_timeout is None else read_timeout.begin()
    try:
        body: object = await context.read()
        return body if isinstance(body, bytes) else await _no_message(context)
    except asyncio.CancelledError:
        if read_timeout is not None and read_timeout.over(task):
            return _TOO_LATE
        unread()
        raise
    finally:
        if read_timeout is not None:
            read_timeout.end(task)


async def read_again(progress: Progress) -> bytes | Reply:
    """The request that the fast path has already read."""
    return progress.body if isinstance(progress.body, bytes | Reply) else NO_REQUEST


async def _no_message(context: Context) -> Reply:
    """The Reply for a call without a request. To grpc.aio a call that the core has refused looks the same. A second
    read tells the two apart: the core completes it only after it has reported the refusal, which cancels this task.
    """
    await context.read()
    await asyncio.sleep(0)
    return NO_REQUEST
