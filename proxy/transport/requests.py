"""Reads the one request of a unary call from grpc.aio, within a time limit, and recognises one that never arrived."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.transport.layers import NO_REQUEST, Begun
from proxy.transport.patience import Patience

Context = grpc.aio.ServicerContext[Any, Any]

_TOO_LATE = Reply(
    code=StatusCode.DEADLINE_EXCEEDED, details="no request came within CALL_TIMEOUT", limit="CALL_TIMEOUT"
)


async def read_message(context: Context, unread: Callable[[], None], patience: Patience | None) -> bytes | Reply:
    """The request's message. gRPC's core refuses calls by itself, and shows them as if their caller had left: `unread`.

    `patience` is for calls without a deadline.
    """
    task = None if patience is None else patience.begin()
    try:
        body: object = await context.read()
        return body if isinstance(body, bytes) else await _no_message(context)
    except asyncio.CancelledError:
        if patience is not None and patience.over(task):
            return _TOO_LATE
        unread()
        raise
    finally:
        if patience is not None:
            patience.end(task)


async def read_again(begun: Begun) -> bytes | Reply:
    """What was read before."""
    return begun.body if isinstance(begun.body, bytes | Reply) else NO_REQUEST


async def _no_message(context: Context) -> Reply:
    """grpc.aio reads a call that the core has refused as one without a message. A second read tells them apart: the
    core ends it only after it told of the refusal, which cancels us.
    """
    await context.read()
    await asyncio.sleep(0)
    return NO_REQUEST
