"""Everything that is not answered here goes to upstream as raw bytes: bytes, order, half-close, metadata, status.

A method known to be unary takes the cheaper way of `Upstream.unary`. Any other is carried as a stream of messages each
way, which fits all four kinds of method; one message is in flight each way, so that whoever is slow holds the other.
"""

import asyncio
import time
from collections.abc import Awaitable

import grpc
import grpc.aio
from grpc import StatusCode

from proxy.media.calls import Call, Handler, Metadata, Reply
from proxy.transport.large_messages import LargeMessages, TooManyBytesError
from proxy.transport.limits import clamped
from proxy.transport.metadata import IllegalMetadataError
from proxy.transport.upstream import StreamCall, Upstream
from proxy.transport.upstreams import Whereabouts

_HEADERS_ALONE = 0.025
"""Seconds. No initial metadata is what grpc.aio shows for an empty header frame and for none at all, when upstream sent
its status alone. Then so must we: a header frame tells the caller's retry policy that the call took effect. But callers
may wait for an empty one before they send anything. A message or the status within this time tells that none is needed;
after it, there was one."""

_REFUSED_WITHIN = 0.025
"""Seconds. gRPC's core hands a call over before it refuses it: for a header that it cannot read, or for its first
message. So no call upstream is opened until that is here; or for so long, since a caller may wait for upstream."""

Context = grpc.aio.ServicerContext[bytes, bytes]


def unary_forwarder(upstreams: Whereabouts) -> Handler:
    """A `Handler` that lets upstream answer."""

    async def forward(call: Call) -> Reply:
        timeout = None if call.deadline is None else call.deadline - time.monotonic()
        return await upstreams.of(call.method).unary(call, timeout=timeout, exactly_one=False)

    return forward


async def forward_stream(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata
) -> Reply:
    """Carries initial metadata and messages both ways; what is left to tell the caller is the Reply, without a body.

    A message counts from when it was read until the other side has taken it; with too many bytes of them the call ends.

    Cancelled when the caller went away or its deadline passed; that cancels the call upstream.
    """
    with upstream.span(method) as span:
        reply = await _forward_stream(upstream, large, method, context, metadata)
        span.ended(reply.code)
        return reply


async def _forward_stream(
    upstream: Upstream, large: LargeMessages, method: str, context: Context, metadata: Metadata
) -> Reply:
    requests = _Requests(context, large)
    first = asyncio.ensure_future(requests.next())
    try:
        await asyncio.wait([first], timeout=_REFUSED_WITHIN)
        if first.done() and isinstance(first.exception(), TooManyBytesError):
            return large.refusal
        return await _carry(upstream, method, requests, first, metadata)
    finally:
        first.cancel()
        requests.give()


async def _carry(
    upstream: Upstream, method: str, requests: "_Requests", first: Awaitable[bytes | None], metadata: Metadata
) -> Reply:
    started, code = time.perf_counter(), StatusCode.CANCELLED
    context, large = requests.context, requests.large
    try:
        rpc = upstream.stream(method, metadata, timeout=clamped(context.time_remaining()))
    except IllegalMetadataError as error:
        return Reply(code=StatusCode.INVALID_ARGUMENT, details=str(error))
    reply = large.refusal
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(requests, first, rpc))
            reply = await _responses(upstream, method, rpc, context, large)
            sending.cancel()
        code = reply.code
    except* TooManyBytesError:
        pass
    finally:
        rpc.cancel()
        upstream.observe(method, code, started)
    return reply


class _Requests:
    """The caller's messages. Each counts as held from when it was read until the next one is asked for."""

    def __init__(self, context: Context, large: LargeMessages) -> None:
        self.context = context
        self.large = large
        self._held = 0

    async def next(self) -> bytes | None:
        """None: the caller has half-closed the call. TooManyBytesError for a message too many."""
        self.give()
        message: object = await self.context.read()
        if isinstance(message, bytes):
            self._held = self.large.take(message)
            return message
        # grpc.aio reads a cancelled call as a half-closed one, and then upstream would take what came for the whole.
        # A second read tells them apart: the core ends it only after it told of the cancellation, which ends this task.
        await self.context.read()
        await asyncio.sleep(0)
        return None

    def give(self) -> None:
        """The message read last is held no more."""
        held, self._held = self._held, 0
        self.large.give(held)


async def _send(requests: _Requests, first: Awaitable[bytes | None], rpc: StreamCall) -> None:
    """The caller's messages and its half-close, to upstream."""
    try:
        await rpc.wait_for_connection()
        message = await first
        while message is not None:
            # Not `rpc.write()`: where upstream ends the call meanwhile, that puts INTERNAL in its status' place.
            await rpc._cython_call.send_serialized_message(message)  # type: ignore[attr-defined]  # noqa: SLF001
            message = await requests.next()
        await rpc.done_writing()
    except (grpc.aio.AioRpcError, grpc.aio.InternalError):
        # Upstream ended the call before it had read everything: `_responses` sees its status.
        return
    except BaseException:
        rpc.cancel()
        raise


async def _responses(upstream: Upstream, method: str, rpc: StreamCall, context: Context, large: LargeMessages) -> Reply:
    """Upstream's initial metadata and messages, to the caller; its status as a Reply."""
    # (grpc.aio loses it, in up to 1 % of calls, where upstream fails before the first request message reached it.)
    initial = upstream.to_caller(method, await rpc.initial_metadata())
    first = asyncio.ensure_future(_read(upstream, method, rpc))
    try:
        if initial or not (await asyncio.wait([first], timeout=_HEADERS_ALONE))[0]:
            await context.send_initial_metadata(initial)
        outcome = await first
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
        return Reply(code=error.code(), details=error.details() or "", trailing_metadata=trailing)
