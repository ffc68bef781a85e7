"""One voice for why a connection failed, whichever library says it."""

import asyncio
import socket

import grpc
import grpc.aio
import pytest
from redis.asyncio import Connection

from proxy.reasons import in_words
from tests.support.servers.children import free_port


async def of_redis(port: int) -> BaseException:
    with pytest.raises(Exception, match="connecting") as caught:
        await Connection(host="127.0.0.1", port=port).connect()  # type: ignore[no-untyped-call]
    return caught.value


async def of_asyncio(port: int) -> BaseException:
    with pytest.raises(OSError, match="failed") as caught:
        await asyncio.open_connection("127.0.0.1", port)
    return caught.value


async def of_grpc(port: int) -> str:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/a.B/C")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(b"", timeout=30)
        return (caught.value.details() or "").rpartition("last error: ")[2].removeprefix("UNKNOWN: ")


async def test_a_refused_connection_reads_the_same() -> None:
    port = free_port()
    words = f"cannot connect to 127.0.0.1:{port}: connection refused"
    assert [in_words(await of_redis(port)), in_words(await of_asyncio(port)), in_words(await of_grpc(port))] == [
        words
    ] * 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "Error -2 connecting to nohost:1. Name or service not known.",
            "cannot connect to nohost:1: name or service not known",
        ),
        ("unknown command 'SCRIPT', with args beginning with: 'LOAD' '-- a script", "unknown command 'SCRIPT'"),
        ("Error 113 connecting to a:1. No route.", "cannot connect to a:1: no route to host"),
        ("111 Connect call failed ('127.0.0.1', 5672)", "cannot connect to 127.0.0.1:5672: connection refused"),
        (
            "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect call failed",
            "cannot connect to ::1:1: connection refused",
        ),
        ("-2 Name or service not known", "name or service not known"),
        (
            "errors resolving nohost:1: [field:hostname lookup error:address lookup failed: Domain name not found]",
            "cannot connect to nohost:1: name or service not known",
        ),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        ("WRONGPASS invalid username-password pair", "WRONGPASS invalid username-password pair"),
        ("two\nlines", "two lines"),
        (ValueError(), "ValueError"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_other_failures_keep_their_words_without_codes(error: BaseException | str, words: str) -> None:
    assert in_words(error) == words
