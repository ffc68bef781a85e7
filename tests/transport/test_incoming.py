"""A second attempt gets what the first one had read; no message is read twice or lost."""

import asyncio
from typing import Any

from proxy.transport.incoming import Incoming
from proxy.transport.large_messages import LargeMessages


class Caller:
    """Sends these messages, each when the test allows it, and then half-closes."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)
        self.let = asyncio.Semaphore(0)
        self.reads = 0

    async def read(self) -> object:
        self.reads += 1
        if self._messages:
            await self.let.acquire()
            return self._messages.pop(0)
        return "EOF"


def incoming(caller: Any) -> Incoming:
    return Incoming(caller, LargeMessages(1 << 20))


async def all_of(given: Incoming) -> list[bytes]:
    return [each async for each in given.messages()]


async def test_a_second_attempt_begins_with_what_the_first_had_read() -> None:
    caller = Caller(b"1", b"2")
    given = incoming(caller)
    first = asyncio.create_task(all_of(given))
    caller.let.release()
    while caller.reads < 2:  # noqa: ASYNC110 -- it waits for the second read
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    caller.let.release()
    assert given.again()
    assert await all_of(given) == [b"1", b"2"]


async def test_what_was_forgotten_is_not_sent_again() -> None:
    caller = Caller(b"1")
    caller.let.release()
    given = incoming(caller)
    assert await all_of(given) == [b"1"]
    given.forget()
    assert not given.again()


async def test_much_is_not_kept() -> None:
    caller = Caller(*[bytes(40_000)] * 2)
    for _ in range(2):
        caller.let.release()
    given = incoming(caller)
    assert len(await all_of(given)) == 2
    assert not given.again()
