"""Forwards calls that the core does not answer, as raw bytes: order, half-close, metadata and status are preserved.

A method known to be unary takes the cheaper `Upstream.unary`. All others are forwarded as a stream of messages in each
direction, which fits all four kinds of method. One message is in flight in each direction, so that a slow side slows
down the other.
"""

import asyncio
import time

import grpc
import grpc.aio
from grpc import StatusCode

from proxy.calls.call import Call, Handler, Metadata, Reply
from proxy.transport.incoming import Incoming
from proxy.transport.large_messages import LargeMessages, TooManyBytesError
from proxy.transport.limits import clamped
from proxy.transport.metadata import IllegalMetadataError, to_upstream
from proxy.transport.upstream import NeverProcessedError, StreamCall, Upstream, never_processed
from proxy.transport.upstreams import UpstreamResolver

_HEADERS_ALONE = 0.025
"""Seconds. grpc.aio shows empty initial metadata both for an empty header frame and for none at all, when upstream
sends only its status. The proxy must not send a header frame in the second case, since it tells the caller's retry
policy that the call took effect; but some callers wait for an empty one before they send anything. A message or the
status within this time shows that no header frame is needed; otherwise there was one."""

_REFUSED_WITHIN = 0.025
"""Seconds. gRPC's core hands a call over before it refuses it, for an unreadable header or for its first message. So
the call upstream is opened when that message has arrived, or after this time, since the caller may wait for
upstream."""

Context = grpc.aio.ServicerContext[bytes, bytes]


def unary_forwarder(upstreams: UpstreamResolver) -> Handler:
    """A `Handler` that forwards to upstream."""

    async def forward(call: Call) -> Reply:
        timeout = None if call.deadline is None else call.deadline - time.monotonic()
        return await upstreams.of(call.method).unary(call, timeout=timeout, exactly_one=False)

    return forward


async def forward_stream(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata
) -> Reply:
    """Forwards initial metadata and messages in both directions, and returns the status as a Reply without a body.

    A message counts in `large` from when it was read until the other side has taken it; if there are too many bytes
    of them, the call ends. If the caller leaves or its deadline passes, this is cancelled, and so is the call upstream.
    """
    with upstream.span(method) as span:
        reply = await _forward_stream(upstream, large, method, context, metadata)
        span.ended(reply.code)
        return reply


async def _forward_stream(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata
) -> Reply:
    incoming = Incoming(context, large)
    try:
        await incoming.arrived(_REFUSED_WITHIN)
        return await _carry(upstream, large, method, context, metadata, incoming)
    except TooManyBytesError:
        return large.refusal
    finally:
        incoming.close()


async def _carry(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata, incoming: Incoming
) -> Reply:
    """Makes one attempt, and a second one if upstream never processed the first."""
    started, code = time.perf_counter(), StatusCode.CANCELLED
    try:
        to_upstream(metadata)
    except IllegalMetadataError as error:
        return Reply(code=StatusCode.INVALID_ARGUMENT, details=str(error))
    try:
        try:
            reply = await _attempt(upstream, large, method, context, metadata, incoming)
        except NeverProcessedError as refused:
            reply = refused.reply
            if incoming.again():
                reply = await _attempt(upstream, large, method, context, metadata, incoming)
        code = reply.code
    except NeverProcessedError as refused:
        reply, code = refused.reply, refused.reply.code
    finally:
        upstream.observe(method, code, started)
    return reply


async def _attempt(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata, incoming: Incoming
) -> Reply:
    rpc = upstream.stream(method, metadata, timeout=clamped(context.time_remaining()))
    reply, refused = large.refusal, None
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(incoming, rpc))
            try:
                reply = await _responses(upstream, method, rpc, context, large, incoming)
            except NeverProcessedError as error:
                refused = error
            sending.cancel()
    except* TooManyBytesError:
        pass
    finally:
        rpc.cancel()
    if refused is not None:
        raise refused
    return reply


async def _send(incoming: Incoming, rpc: StreamCall) -> None:
    """Sends the caller's messages and half-close to upstream."""
    try:
        await rpc.wait_for_connection()
        async for message in incoming.messages():
            # `rpc.write()` would replace upstream's status by INTERNAL if upstream ends the call meanwhile.
            await rpc._cython_call.send_serialized_message(message)  # type: ignore[attr-defined]  # noqa: SLF001
        await rpc.done_writing()
    except (grpc.aio.AioRpcError, grpc.aio.InternalError):
        # Upstream ended the call before it had read everything; `_responses` gets its status.
        return
    except BaseException:
        rpc.cancel()
        raise


async def _responses(
    upstream: Upstream, method: str, rpc: StreamCall, context: Context, large: LargeMessages, incoming: Incoming
) -> Reply:
    """Sends upstream's initial metadata and messages to the caller, and returns its status as a Reply."""
    # (grpc.aio loses the metadata of up to 1 % of calls that upstream fails before the first request message.)
    initial = upstream.to_caller(method, await rpc.initial_metadata())
    first = asyncio.ensure_future(_read(upstream, method, rpc))
    try:
        if initial or not (await asyncio.wait([first], timeout=_HEADERS_ALONE))[0]:
            incoming.forget()
            await context.send_initial_metadata(initial)
        outcome = await first
        incoming.forget()
        while isinstance(outcome, bytes):
            held = large.take(outcome)
            try:
                await context.write(outcome)
            finally:
                large.give(held)
            outcome = await _read(upstream, method, rpc)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError("the caller is gone") from None
    else:
        return outcome
    finally:
        first.cancel()


async def _read(upstream: Upstream, method: str, rpc: StreamCall) -> bytes | Reply:
    """Upstream's next message, or its status."""
    try:
        message: object = await rpc.read()
        if isinstance(message, bytes):
            return message
        return Reply(trailing_metadata=upstream.to_caller(method, await rpc.trailing_metadata()))
    except grpc.aio.AioRpcError as error:
        trailing = upstream.to_caller(method, error.trailing_metadata())
        reply = Reply(code=error.code(), details=error.details() or "", trailing_metadata=trailing)
        if never_processed(error.code(), error.debug_error_string()):
            raise NeverProcessedError(reply) from None
        return reply
