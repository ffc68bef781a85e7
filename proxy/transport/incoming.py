"""`Incoming`: a caller's messages as they come, kept for a second attempt for as long as there may be one."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

_MOST_KEPT = 64 << 10
"""Bytes of messages. Who sent more has begun to be processed, or waits for upstream's window."""

Context = grpc.aio.ServicerContext[bytes, bytes]


class Incoming:
    """Of one call. `messages()` begins anew with what is kept, and is not read twice at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: list[bytes] | None = []
        """None: there will be no second attempt."""
        self._size = 0
        self._reading: asyncio.Future[object] | None = None
        """A read that the first attempt began and did not see the end of: gRPC's core knows no way to take it back."""

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

    async def messages(self) -> AsyncIterator[bytes]:
        """To the caller's half-close."""
        for kept in list(self._kept or ()):
            yield kept
        while isinstance(message := await self._read(), bytes):
            yield message
        # grpc.aio reads a cancelled call as a half-closed one, and then upstream would take what came for the whole.
        # A second read tells them apart: the core ends it only after it told of the cancellation, which ends this task.
        await self._context.read()

    async def _read(self) -> object:
        if self._kept is None and self._reading is None:
            return await self._context.read()
        reading = self._reading
        if reading is None:
            reading = self._reading = asyncio.ensure_future(self._start_reading())
        message = await asyncio.shield(reading)
        self._reading = None
        if self._kept is not None and isinstance(message, bytes):
            self._size += len(message)
            if self._size > _MOST_KEPT:
                self.forget()
            else:
                self._kept.append(message)
        return message

    async def _start_reading(self) -> object:
        return await self._context.read()
