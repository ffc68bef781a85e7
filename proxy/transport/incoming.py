"""`Incoming`: a caller's messages as they come, kept for a second attempt for as long as there may be one.

A message counts as held in memory from the time it is read until the next one is requested.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from proxy.transport.large_messages import LargeMessages

_MOST_KEPT = 64 << 10
"""Bytes of messages. Who sent more has begun to be processed, or waits for upstream's window."""

Context = grpc.aio.ServicerContext[bytes, bytes]


class Incoming:
    """Of one call. `messages()` begins anew with what is kept; only one of them goes on at a time."""

    def __init__(self, context: Context, large: LargeMessages) -> None:
        self._context = context
        self._large = large
        self._held = 0
        self._kept: list[bytes] | None = []
        """None: there will be no second attempt."""
        self._size = 0
        self._reading: asyncio.Future[bytes | None] | None = None
        """A read that is under way. It outlives the attempt that began it: the core knows no way to take it back."""

    async def arrived(self, within: float) -> None:
        """Waits for the first message, `within` seconds at most. TooManyBytesError when it is one too many."""
        self._reading = reading = asyncio.ensure_future(self._read())
        await asyncio.wait([reading], timeout=within)
        if reading.done():
            reading.result()

    def again(self) -> bool:
        """Whether all that came so far is kept."""
        return self._kept is not None

    def forget(self) -> None:
        """The call has taken effect."""
        self._kept = None

    def close(self) -> None:
        """The call has ended."""
        if self._reading is not None:
            self._reading.cancel()
        self._give()

    async def messages(self) -> AsyncIterator[bytes]:
        """To the caller's half-close. TooManyBytesError for a message too many."""
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
        # grpc.aio reads a cancelled call as a half-closed one, and then upstream would take what came for the whole.
        # A second read tells them apart: the core ends it only after it told of the cancellation, which ends this task.
        await self._context.read()
        await asyncio.sleep(0)
        return None

    def _give(self) -> None:
        held, self._held = self._held, 0
        self._large.give(held)
