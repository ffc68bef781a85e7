"""A caller leaves in any phase of its call and in any way: upstream notices, and nothing of the call remains."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from tests.as_direct.caller import request
from tests.as_direct.conftest import METHODS, Ways
from tests.as_direct.upstream import Answer
from tests.conftest import TRANSPORTS
from tests.support.raw_http2 import (
    ACK,
    DATA,
    END_STREAM,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    headers,
    message,
)
from tests.support.servers.waiting import until

_CANCEL, _INTERNAL_ERROR = 8, 2
_QUESTION = b"\0\0\0\0\1q"
_RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
PHASES = {
    "headers": b"",
    "half a message": frame(DATA, 0, 1, _QUESTION[:3]),
    "a message": frame(DATA, 0, 1, _QUESTION),
    "half-closed": frame(DATA, END_STREAM, 1, _QUESTION),
}
ANSWERED = {
    "not yet": Answer(lambda stream: b"", "headers"),
    "by half": Answer(lambda stream: headers(stream, _RESPONSE) + message(stream, b"first"), "headers"),
}
Leave = Callable[[asyncio.StreamWriter], None]


def _reset(code: int) -> Leave:
    return lambda writer: writer.write(frame(RST_STREAM, 0, 1, code.to_bytes(4)))


def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN, like a process that is killed with unread bytes."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


LEAVES: dict[str, Leave] = {
    "cancels": _reset(_CANCEL),
    "resets": _reset(_INTERNAL_ERROR),
    "closes": lambda writer: writer.close(),
    "half-closes": lambda writer: writer.write_eof(),
    "aborts": _abort,
}


@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answered", ANSWERED)
@pytest.mark.parametrize("phase", PHASES)
async def test_a_caller_that_leaves(ways: Ways, way: str, method: str, answered: str, phase: str) -> None:
    upstream, proxy = ways.upstream, ways.proxies[way]
    upstream.answers[method.encode()] = ANSWERED[answered]
    for leave in LEAVES.values():
        upstream.seen.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        writer.write(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
        writer.write(headers(1, request(method)) + PHASES[phase])
        if phase == "half-closed":  # otherwise upstream need not have been asked yet
            await until(lambda: upstream.at(method))
        leave(writer)
        await until(lambda: all(each.reset for each in upstream.at(method)), "upstream to learn of it")
        writer.close()
    used = 'media_cache_limit_used{limit="MAX_CONCURRENT_CALLS"}'

    async def none_is_left() -> bool:
        return await proxy.metric(used) == 0

    await until(none_is_left, "the calls to have ended")
