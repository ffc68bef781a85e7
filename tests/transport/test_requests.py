"""A request that was already read is returned again; a missing request is distinguished from a refused one."""

import asyncio
from typing import Any, cast

import pytest
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.transport.layers import NO_REQUEST, Progress
from proxy.transport.read_timeout import ReadTimeout
from proxy.transport.requests import Context, read_again, read_message


class Reading:
    """A call whose reads return these results in order; later reads never return."""

    def __init__(self, *messages: object) -> None:
        self._messages = list(messages)

    async def read(self) -> object:
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)


def context(*messages: object) -> Context:
    return cast("Context", cast("Any", Reading(*messages)))


def _unread() -> None:
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("before", [b"a request", b"", NO_REQUEST])
async def test_what_was_read_before_is_given_again(before: bytes | Reply) -> None:
    assert await read_again(Progress(0.0, before)) == before


async def test_a_message_and_none() -> None:
    assert await read_message(context(b"a request"), _unread, None) == b"a request"
    assert await read_message(context(None, None), _unread, None) is NO_REQUEST


async def test_a_caller_without_a_deadline_is_not_waited_for_without_end() -> None:
    late = await read_message(context(), _unread, ReadTimeout(0.01))
    assert isinstance(late, Reply)
    assert (late.code, late.limit) == (StatusCode.DEADLINE_EXCEEDED, "CALL_TIMEOUT")


async def test_a_call_that_ends_before_its_request_came_is_told_of() -> None:
    told = asyncio.Event()
    reading = asyncio.create_task(read_message(context(), told.set, None))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert told.is_set()
