"""An HTTP server of ours as strangers meet it: what they send, and hold open, is bounded."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
import uvloop
from aiohttp import web

from proxy.errors import StartError
from proxy.telemetry import http_listener as module
from proxy.telemetry.http_listener import LARGEST_BODY, HttpListener, line
from tests.support.raw_http import raw
from tests.support.servers.waiting import until


async def answer(request: web.BaseRequest) -> web.Response:
    """/body says how long the body is, /large is more than any buffer holds, all else is a line."""
    if request.path == "/body":
        return line(200, str(len(await request.read())))
    return line(200, "x" * 10_000 if request.path == "/large" else "ok")


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[HttpListener]:
    listener = HttpListener("PROBE_ADDR", "127.0.0.1:0", answer)
    yield listener
    await listener.stop()


@pytest_asyncio.fixture
async def port(listener: HttpListener) -> int:
    return await listener.start()


@pytest_asyncio.fixture
async def http(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


@pytest.mark.parametrize(("size", "status"), [(0, 200), (LARGEST_BODY, 200), (LARGEST_BODY + 1, 413), (1 << 20, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_bounded(http: aiohttp.ClientSession, size: int, status: int, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * size

    try:
        async with http.post("/body", data=chunks() if chunked else b"x" * size) as response:
            assert response.status == status
    except aiohttp.ClientOSError:  # it closed while we were sending what it did not want
        assert status == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 6_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(100)) + b"\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ],
    ids=["long path", "long header", "many headers", "no HTTP", "TLS"],
)
async def test_what_is_too_large_or_no_http_is_refused_and_ends_the_connection(port: int, request_bytes: bytes) -> None:
    assert (await raw(port, request_bytes)).startswith(b"HTTP/1.0 400 ")


async def test_connections_are_bounded_and_idle_ones_keep_nobody_out(
    port: int, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 4)
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
    async with http.get("/healthz") as response:
        assert response.status == 200
    for reader, _ in idle[:5]:
        assert await reader.read() == b""
    for reader, writer in idle[5:]:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 200 ")
    for _, writer in idle:
        writer.close()


def test_connections_are_bounded_on_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        served = HttpListener("PROBE_ADDR", "127.0.0.1:0", answer)
        port = await served.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                await test_connections_are_bounded_and_idle_ones_keep_nobody_out(port, session, monkeypatch)
        finally:
            await served.stop()

    uvloop.run(run())


async def test_a_reader_who_stalls_is_cut_like_an_idle_one(
    listener: HttpListener, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 1)
    connections = listener._http
    assert connections is not None
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(client, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    await until(lambda: any(handler._paused for handler in connections.connections), "answers that nobody reads")
    assert (await raw(port, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")
    await until(lambda: not connections.connections, "both to be gone, though the first has read nothing")
    client.close()


async def test_stop_closes_what_is_open_and_frees_the_port(listener: HttpListener, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"ok\n")
    await listener.stop()
    assert await reader.read() == b""
    writer.close()
    again = HttpListener("PROBE_ADDR", f"127.0.0.1:{port}", answer)
    assert await again.start() == port
    await again.stop()


async def test_the_setting_is_named_where_the_address_cannot_be_had(port: int) -> None:
    with pytest.raises(
        StartError, match=rf"^SOME_ADDR: cannot listen on '127\.0\.0\.1:{port}': Address already in use; "
    ):
        await HttpListener("SOME_ADDR", f"127.0.0.1:{port}", answer).start()


async def test_a_host_that_is_not_known_is_one_line_too() -> None:
    with pytest.raises(StartError, match=r"PROBE_ADDR: cannot listen on 'no\.such\.invalid:0': [^\n]+; accepted: "):
        await HttpListener("PROBE_ADDR", "no.such.invalid:0", answer).start()
