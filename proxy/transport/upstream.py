"""`Upstream`: the channel to an upstream service. It passes raw bytes; every outcome of a call is a `Reply`.

A call that upstream never processed is made once more (gRFC A6). The caller's library cannot repeat it, since for that
library the call has begun. After a GOAWAY gRPC's core repeats it; a REFUSED_STREAM is handled here.

A channel keeps the certificates with which it was opened. When they are renewed, new calls use a new channel. The old
one is released, and gRPC's core keeps what its calls need until they have ended.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol, Self

import grpc
import grpc.aio
from grpc import ChannelConnectivity, StatusCode

from proxy.calls.call import Call, Metadata, Reply
from proxy.telemetry import span_names, tracing
from proxy.tls import Leg
from proxy.transport.credentials import open_channel, why_not_connected
from proxy.transport.metadata import IllegalMetadataError, to_caller, to_upstream
from proxy.transport.unary_call import UnaryCall

_log = logging.getLogger(__name__)

_KEPT_METHODS = 128
"""Prepared streaming methods that are kept: more than a service has, but few enough for method names that callers
make up."""

_CLOSED = Reply(code=StatusCode.UNAVAILABLE, details="the proxy is shutting down")
_CONNECTED = {ChannelConnectivity.READY: True, ChannelConnectivity.TRANSIENT_FAILURE: False}

_REFUSED = "UNAVAILABLE:Stream removed (RST_STREAM (Received RST_STREAM with error code 7))"
"""How the core's explanation begins for a call that was reset with REFUSED_STREAM (RFC 9113, 8.7). The explanation of a
status from upstream never begins so, whatever its details are."""

_Pairs = Iterable[tuple[str, str | bytes]] | None
StreamCall = grpc.aio.StreamStreamCall[bytes, bytes]


class ClientObserver(Protocol):
    """Receives each call to upstream that has ended."""

    def client_call(self, method: str, code: StatusCode, seconds: float) -> None: ...


class Upstream:
    """Created and closed inside the event loop that uses it. Nothing here waits for a connection.

    `target` is any gRPC target, in plaintext without `tls`. A `timeout` is in seconds from now; None means no limit.
    """

    def __init__(self, target: str, observer: ClientObserver, tls: Leg | None = None) -> None:
        self.target = target
        self._place = span_names.place(target)
        self._observer = observer
        self._tls = tls
        self._renewed = asyncio.Event()
        self._calls: set[UnaryCall] = set()
        self._open()
        if tls is not None:
            tls.on_change(self._renew)

    @property
    def connected(self) -> bool | None:
        """Whether it is connected now; None if that is unknown because it was not used for a while."""
        return _CONNECTED.get(self._channel.get_state())

    def _open(self) -> None:
        self._channel = open_channel(self.target, self._tls)
        self._stream_stream = lru_cache(maxsize=_KEPT_METHODS)(self._channel.stream_stream)

    def _renew(self) -> None:
        """Opens a new channel. The old one is not closed: `close()` cancels its calls, or waits for all of them."""
        self._open()
        self._renewed.set()

    async def unary(self, call: Call, *, timeout: float | None, exactly_one: bool = True) -> Reply:
        """The outcome of a unary call. Cancelling this cancels the call. Metadata that cannot be sent is
        INVALID_ARGUMENT.

        OK without a message is INTERNAL, and so is OK with several. Without `exactly_one` the call takes a little less
        CPU, but an answer of several messages ends only with the deadline: gRPC's core reads one message, and reports
        the status when all have been read.
        """
        with self.span(call.method) as span:
            reply = await self._unary(call, timeout, exactly_one=exactly_one)
            span.ended(reply.code)
            return reply

    async def _unary(self, call: Call, timeout: float | None, *, exactly_one: bool) -> Reply:
        started = time.perf_counter()
        try:
            metadata = to_upstream(tracing.injected(call.metadata))
            try:
                reply = await self._ask(call, metadata, timeout, exactly_one=exactly_one)
            except NeverProcessedError:
                left = None if timeout is None else max(0.0, timeout - (time.perf_counter() - started))
                reply = await self._ask(call, metadata, left, exactly_one=exactly_one)
        except NeverProcessedError as refused:
            reply = refused.reply
        except IllegalMetadataError as error:
            return Reply(code=StatusCode.INVALID_ARGUMENT, details=str(error))
        except grpc.aio.UsageError:
            return _CLOSED
        except asyncio.CancelledError:
            self.observe(call.method, StatusCode.CANCELLED, started)
            raise
        self.observe(call.method, reply.code, started)
        return reply

    def of(self, method: str) -> Self:
        """This upstream, for every method; see `Upstreams`."""
        return self

    def span(self, method: str) -> tracing.Scope:
        """The span around a call to upstream; `unary` opens it by itself."""
        return tracing.client_span(method, self._place)

    def stream(self, method: str, metadata: Metadata, *, timeout: float | None) -> StreamCall:
        """Begins a call of any kind. IllegalMetadataError before anything is sent.

        The owner must cancel it at the end in any case: an abandoned call is never collected (grpc#43462).
        """
        return self._stream_stream(method)(metadata=to_upstream(tracing.injected(metadata)), timeout=timeout)

    def observe(self, method: str, code: StatusCode, started: float) -> None:
        """Reports a call that has ended to the observer; `started` is a time of `time.perf_counter()`."""
        self._observer.client_call(method, code, time.perf_counter() - started)

    @staticmethod
    def to_caller(method: str, pairs: _Pairs) -> Metadata:
        """The response metadata that is passed on; a key that cannot be is logged."""
        kept, lost = to_caller(pairs)
        if lost:
            _log.warning("%s: upstream's metadata %s is not legal in gRPC and was left out", method, ", ".join(lost))
        return kept

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Keeps the channel connected until cancelled. `changed` is called with whether it is connected, and if not,
        why; first as soon as that is known.
        """
        known: bool | None = None
        while True:
            self._renewed.clear()
            channel = self._channel
            state = channel.get_state(try_to_connect=True)
            # IDLE and CONNECTING do not tell yet.
            now = _CONNECTED.get(state, known)
            if now is not None and now is not known:
                changed(now, "" if now else await why_not_connected(channel))
            known = now
            await self._until_changed(channel, state)

    async def _until_changed(self, channel: grpc.aio.Channel, state: ChannelConnectivity) -> None:
        waiting = [
            asyncio.ensure_future(channel.wait_for_state_change(state)),
            asyncio.ensure_future(self._renewed.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def close(self) -> None:
        """Cancels calls in progress; later calls are UNAVAILABLE."""
        calls, self._calls = self._calls, set()
        for call in calls:
            call.cancel()
        await self._channel.close()
        await asyncio.gather(*(task for call in calls for task in call.tasks), return_exceptions=True)

    async def _ask(self, call: Call, metadata: Metadata, timeout: float | None, *, exactly_one: bool) -> Reply:
        rpc = UnaryCall(self._channel, call.method, call.body, metadata, timeout, exactly_one=exactly_one)
        self._calls.add(rpc)
        try:
            await rpc.ended()
        finally:
            closed = rpc not in self._calls
            self._calls.discard(rpc)
        if closed:
            return _CLOSED
        if len(rpc.messages) > 1 or rpc.code is StatusCode.OK:
            return self._reply(call.method, rpc.messages, rpc.initial_metadata, rpc.trailing_metadata)
        if never_processed(rpc.code, rpc.account):
            raise NeverProcessedError(Reply(code=rpc.code, details=rpc.details))
        return Reply(
            code=rpc.code,
            details=rpc.details,
            initial_metadata=self.to_caller(call.method, rpc.initial_metadata),
            trailing_metadata=self.to_caller(call.method, rpc.trailing_metadata),
        )

    def _reply(self, method: str, messages: Sequence[bytes], initial: _Pairs, trailing: _Pairs) -> Reply:
        """OK if there is exactly one message, otherwise INTERNAL."""
        if len(messages) != 1:
            number = "several messages" if messages else "no message"
            return Reply(code=StatusCode.INTERNAL, details=f"the media service answered a unary call with {number}")
        return Reply(
            messages[0],
            initial_metadata=self.to_caller(method, initial),
            trailing_metadata=self.to_caller(method, trailing),
        )


class NeverProcessedError(Exception):
    """Upstream refused the call before it processed any of it; `reply` is for a caller whose call is not repeated."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def never_processed(code: StatusCode, account: str | None) -> bool:
    """Whether the call can be repeated safely; `account` is the core's explanation of its status."""
    return code is StatusCode.UNAVAILABLE and (account or "").startswith(_REFUSED)
