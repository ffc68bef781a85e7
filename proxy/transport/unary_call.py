"""`UnaryCall`: a unary call upstream, made with gRPC's core directly, that can detect an answer of two messages.

grpc.aio offers two ways, each with a flaw. Its unary call reads one message and then waits for the status, which the
core reports only when all messages have been read, so that an answer of two ends with the deadline. Its call with a
stream of answers requests the response headers only after the request has been sent; if the whole response has arrived
by then, the core reports UNKNOWN for an HTTP error page instead of the status that follows from its HTTP status (grpcio
1.85: in 5 to 100 % of such calls). Here the headers are requested before the request is sent, as in the first way, and
then a second message is requested. This also takes a fifth less CPU than the second way.

A call that need not detect a second message is a single batch, as grpc.aio's unary call is, without that one's layers.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

import grpc.aio
from grpc import StatusCode
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out

from proxy.calls.call import Metadata

_CODES = {code.value[0]: code for code in StatusCode}
_NO_FLAGS = 0


class UnaryCall:
    """A call that begins at once. grpc.aio.UsageError if the channel is closed. `timeout` is in seconds; None means no
    deadline. With `exactly_one`, a second message ends the call; without, an answer of several messages ends only with
    the deadline.

    What was passed to the core is freed only if the task that waits for it is never cancelled (grpc#43360): otherwise
    900 bytes per call leak. So the call has tasks of its own, which end with it. (A stream leaks about 130 bytes in any
    case.)
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        method: str,
        body: bytes,
        metadata: Metadata,
        timeout: float | None,
        *,
        exactly_one: bool = True,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        deadline = None if timeout is None else time.time() + timeout
        self._call: Any = channel._channel.call(method.encode(), deadline, None, None)  # type: ignore[attr-defined]  # noqa: SLF001 -- see above
        self.tasks: tuple[asyncio.Task[None], ...]
        """Awaited by the owner of the call."""
        if exactly_one:
            status = self._call._handle_status_once_received()  # noqa: SLF001 -- see above
            self.tasks = (loop.create_task(status), loop.create_task(self._in_two_batches(body, metadata)))
        else:
            self.tasks = (loop.create_task(self._in_one_batch(body, metadata)),)
        self._running = len(self.tasks)
        self._over: asyncio.Future[None] = loop.create_future()
        for task in self.tasks:
            task.add_done_callback(self._task_ended)
        self.messages: list[bytes] = []
        self.code = StatusCode.UNKNOWN
        self.details = ""
        self.account = ""
        """The core's explanation of the status, for logs."""
        self.initial_metadata: Metadata = ()
        self.trailing_metadata: Metadata = ()

    async def ended(self) -> None:
        """Returns when the fields hold the outcome, at once after a second message. Cancelling this cancels the
        call."""
        try:
            await self._over
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancels the call in the core; `ended` returns soon after."""
        if not self._call.done():
            self._call.cancel("cancelled")

    def _task_ended(self, _task: asyncio.Task[None]) -> None:
        self._running -= 1
        if not self._running and not self._over.done():
            self._over.set_result(None)

    async def _in_one_batch(self, body: bytes, metadata: Metadata) -> None:
        message = await self._call.unary_unary(body, metadata, None)
        if message is not None:
            self.messages.append(message)
        await self._ended(await self._call.initial_metadata())

    async def _in_two_batches(self, body: bytes, metadata: Metadata) -> None:
        """The status has a batch of its own, since it comes after a message that may follow the first one."""
        initial = cygrpc.ReceiveInitialMetadataOperation(_NO_FLAGS)
        first = cygrpc.ReceiveMessageOperation(_NO_FLAGS)
        operations = (
            cygrpc.SendInitialMetadataOperation(metadata, _NO_FLAGS),
            cygrpc.SendMessageOperation(body, _NO_FLAGS),
            cygrpc.SendCloseFromClientOperation(_NO_FLAGS),
            initial,
            first,
        )
        with suppress(cygrpc.ExecuteBatchError):  # the call ended before everything was sent; its status says why
            await cygrpc.execute_batch(self._call, operations, self._loop)
        message = first.message()
        if message is not None:
            self.messages.append(message)
            second = await self._call.receive_serialized_message()
            if isinstance(second, bytes):
                self.messages.append(second)
                self.cancel()
        await self._ended(initial.initial_metadata())

    async def _ended(self, initial_metadata: Metadata | None) -> None:
        status = await self._call.status()
        self.code = _CODES.get(status.code(), StatusCode.UNKNOWN)
        self.details = status.details() or ""
        self.account = status.debug_error_string() or ""
        self.initial_metadata = tuple(initial_metadata or ())
        self.trailing_metadata = tuple(status.trailing_metadata() or ())
