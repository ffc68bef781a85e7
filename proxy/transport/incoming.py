"""`Incoming`: a caller's messages as they arrive, kept for as long as there may be a second attempt upstream.

A message counts as held in memory from the time it is read until the next one is requested.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from proxy.transport.large_messages import LargeMessages

_MOST_KEPT = 64 << 10
"""Maximum bytes of messages kept. If a caller has sent more, upstream has begun to process the call, or the caller
waits for upstream's window."""

Context = grpc.aio.ServicerContext[bytes, bytes]


class Incoming:
    """The messages of one call. Each `messages()` begins with those that are kept; only one may run at a time."""

    def __init__(self, context: Context, large: LargeMessages) -> None:
        self._context = context
        self._large = large
        self._held = 0
        self._kept: list[bytes] | None = []
        """None if there will be no second attempt."""
        self._size = 0
        self._reading: asyncio.Future[bytes | None] | None = None
        """A read in progress. It outlives the attempt that began it, because gRPC's core cannot cancel a read."""

    async def arrived(self, within: float) -> None:
        """Waits up to `within` seconds for the first message. Raises TooManyBytesError if there is no memory for it."""
        self._reading = reading = asyncio.ensure_future(self._read())
        await asyncio.wait([reading], timeout=within)
        if reading.done():
            reading.result()

    def again(self) -> bool:
        """Whether a second attempt is possible: all messages so far are kept."""
        return self._kept is not None

    def forget(self) -> None:
        """Drops the kept messages, because upstream has begun to process the call."""
        self._kept = None

    def close(self) -> None:
        """Ends reading and returns the memory; to be called when the call has ended."""
        if self._reading is not None:
            self._reading.cancel()
        self._give()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yields messages until the caller's half-close. Raises TooManyBytesError if there is no memory for one."""
        for kept in list(self._kept or ()):
            yield kept
        while (message := await self._next()) is not None:
            yield message

    async def _next(self) -> bytes | None:
        if self._kept is None and self._reading is None:
            return await self._read()
        reading = self._reading
        if reading is None:
            reading = self._reading = asyncio.ensure_future(self._read())
        message = await asyncio.shield(reading)
        self._reading = None
        if self._kept is not None and message is not None:
            self._size += len(message)
            if self._size > _MOST_KEPT:
                self.forget()
            else:
                self._kept.append(message)
        return message

    async def _read(self) -> bytes | None:
        self._give()
        message: object = await self._context.read()
        if isinstance(message, bytes):
            self._held = self._large.take(message)
            return message
        # To grpc.aio a cancelled call looks half-closed, and upstream would take the messages so far for the whole
        # request. A second read tells them apart: the core ends it only after reporting the cancellation, which ends
        # this task.
        await self._context.read()
        await asyncio.sleep(0)
        return None

    def _give(self) -> None:
        held, self._held = self._held, 0
        self._large.give(held)
