"""What a command learns of a proxy that answers, refuses, is away, or is no proxy at all."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proxy.admin.client import AdminClient, AdminError
from tests.support.admin_parts import AdminHttp, admin_of
from tests.support.in_process import Stack
from tests.support.servers.children import free_port
from tests.support.servers.streams import StreamServer


@pytest_asyncio.fixture
async def admin() -> AsyncIterator[AdminHttp]:
    async with Stack("") as stack, admin_of(await stack.process(), admin_token="secret") as admin:
        yield admin


async def test_a_question_and_an_order_are_answered(admin: AdminHttp) -> None:
    client = AdminClient(f"127.0.0.1:{admin.port}", "secret")
    found = await asyncio.to_thread(client.get, "/lookup", model_type="user", model_id="1")
    assert found["entries"] == []
    assert (await asyncio.to_thread(client.post, "/mode", mode="off"))["mode"] == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost"])  # noqa: S104 -- asked, not bound
async def test_a_wildcard_is_asked_on_loopback(admin: AdminHttp, host: str) -> None:
    client = AdminClient(f"{host}:{admin.port}", "secret")
    assert (await asyncio.to_thread(client.get, "/stats"))["mode"] == "on"


@pytest.mark.parametrize(
    ("token", "said"), [("", "requires one; set the variable"), ("wrong", "does not accept this token")]
)
async def test_a_refusal_is_the_proxys_own_line(admin: AdminHttp, token: str, said: str) -> None:
    client = AdminClient(f"127.0.0.1:{admin.port}", token)
    with pytest.raises(AdminError, match=said):
        await asyncio.to_thread(client.get, "/stats")


async def test_a_wrong_parameter_is_the_proxys_own_line(admin: AdminHttp) -> None:
    client = AdminClient(f"127.0.0.1:{admin.port}", "secret")
    with pytest.raises(AdminError, match=r"^mode: 'fast' is not understood; accepted: on, off, shadow$"):
        await asyncio.to_thread(client.post, "/mode", mode="fast")


def test_nobody_there_is_one_line_with_what_to_look_at() -> None:
    port = free_port()
    with pytest.raises(AdminError) as failure:
        AdminClient(f"127.0.0.1:{port}", "").get("/stats")
    assert str(failure.value) == (
        f"ADMIN_ADDR: cannot ask 127.0.0.1:{port}: connection refused; is the proxy running, and with the same "
        "ADMIN_ADDR?"
    )


def test_a_proxy_without_admin_server_is_said_so() -> None:
    with pytest.raises(AdminError, match="ADMIN_ADDR is empty"):
        AdminClient("", "")


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\n\r\n[1]"],
)
async def test_what_is_no_proxy_is_one_line(answer: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with StreamServer(other) as server:
        with pytest.raises(AdminError, match=rf"^ADMIN_ADDR: cannot ask 127\.0\.0\.1:{server.port}: [^\n]+$"):
            await asyncio.to_thread(AdminClient(f"127.0.0.1:{server.port}", "").get, "/stats")
