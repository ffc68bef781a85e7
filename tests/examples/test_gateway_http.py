"""The reference gateway's HTTP side: the user's curl commands as they are written, and bodies of all kinds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.gateway import server as gateway
from examples.gateway.multipart import Part, boundary_of, parts_of
from examples.gateway.requests import BadRequestError, UploadedFile, read
from examples.gateway.settings import GatewaySettings
from examples.media_service import server as media_service
from examples.media_service.settings import MediaSettings
from tests.support.servers.children import Child, free_port
from tests.support.servers.waiting import until

ROOT = Path(__file__).parents[2]
ANY_PORT = "127.0.0.1:0"

QUERY = r"""
curl -X POST http://localhost:8080/query \
  -H "Content-Type: application/json" \
  -d '{"query":"{ user(id: \"1\") { avatar { uuid } } }"}'
"""
UPLOAD = r"""
curl -X POST http://localhost:8080/query \
  -H "Content-Type: application/json" \
  -F 'operations={"query":"mutation($file: Upload!) { uploadFile(input: {file: $file, modelType: \"User\", modelId: \"1\", collectionName: \"avatars\"}) { success } }", "variables": {"file": null}}' \
  -F 'map={"0": ["variables.file"]}' \
  -F '0=@avatar.jpg'
"""  # noqa: E501 -- as users have it in their notes
UPLOAD_AVATAR = """
mutation UploadAvatar($file: Upload!) {
  uploadFile(
    input: {
      file: $file
      modelType: "User"
      modelId: "123"
      collectionName: "avatars"
      fileName: "profile.jpg"
    }
  ) {
    success
    message
    data {
      id
      uuid
      fileName
    }
  }
}
"""
# What curl 7.88 sends for UPLOAD: a boundary behind the user's own content type, and parts that are attachments.
CURLS_BODY = (
    b"--------------------------235367024e0ac129\r\n"
    b'Content-Disposition: attachment; name="operations"\r\n\r\n'
    b'{"query":"mutation($file: Upload!) { uploadFile(input: {file: $file, modelType: \\"User\\", modelId: \\"1\\", '
    b'collectionName: \\"avatars\\"}) { success } }", "variables": {"file": null}}\r\n'
    b"--------------------------235367024e0ac129\r\n"
    b'Content-Disposition: attachment; name="map"\r\n\r\n'
    b'{"0": ["variables.file"]}\r\n'
    b"--------------------------235367024e0ac129\r\n"
    b'Content-Disposition: attachment; name="0"; filename="avatar.jpg"\r\n'
    b"Content-Type: image/png\r\n\r\n"
    b"picture\r\n"
    b"--------------------------235367024e0ac129--\r\n"
)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with (
        media_service.running(MediaSettings(listen_addr=ANY_PORT, latency=0, seed=True)) as media,
        gateway.running(GatewaySettings(media_service_addr=media.address, gateway_addr=ANY_PORT)) as address,
    ):
        yield address


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def shell(script: str, address: str, directory: Path) -> Any:
    """The answer to a command line, with the gateway's real address."""
    script = script.replace("curl ", "curl --silent --show-error ").replace("localhost:8080", address)
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_the_users_curls_work_as_written(address: str, tmp_path: Path) -> None:
    (tmp_path / "avatar.jpg").write_bytes(b"\xff\xd8 picture \r\n--not-the-boundary\r\n \xff\xd9")

    before = await shell(QUERY, address, tmp_path)
    uploaded = await shell(UPLOAD, address, tmp_path)
    after = await shell(QUERY, address, tmp_path)

    assert uploaded == {"data": {"uploadFile": {"success": True}}}
    assert before["data"]["user"]["avatar"]["uuid"] != after["data"]["user"]["avatar"]["uuid"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; boundary=------------------------235367024e0ac129",
        "application/json",
        "multipart/form-data; boundary=------------------------235367024e0ac129",
        "text/plain",
    ],
)
async def test_a_multipart_body_is_taken_under_any_label(
    address: str, session: aiohttp.ClientSession, content_type: str
) -> None:
    url, headers = f"http://{address}/query", {"Content-Type": content_type}
    async with session.post(url, data=CURLS_BODY, headers=headers) as response:
        assert await response.json() == {"data": {"uploadFile": {"success": True}}}
    query = '{ user(id: "1") { avatar { fileName mimeType size } } }'
    async with session.post(url, json={"query": query}) as response:
        avatar = {"fileName": "avatar.jpg", "mimeType": "image/png", "size": 7}
        assert await response.json() == {"data": {"user": {"avatar": avatar}}}


async def test_the_described_upload_works_in_a_plain_form(address: str, session: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    form.add_field("operations", json.dumps({"query": UPLOAD_AVATAR, "variables": {"file": None}}))
    form.add_field("map", json.dumps({"file": ["variables.file"]}))
    form.add_field("file", b"picture", filename="avatar.jpg")
    async with session.post(f"http://{address}/query", data=form) as response:
        result = (await response.json())["data"]["uploadFile"]

    assert (result["success"], result["data"]["fileName"]) == (True, "profile.jpg")


async def test_a_file_of_50_mib_is_taken_and_a_larger_body_is_413(address: str, session: aiohttp.ClientSession) -> None:
    url, headers = f"http://{address}/query", {"Content-Type": "application/json"}
    largest = CURLS_BODY.replace(b"picture", bytes(50 << 20))
    async with session.post(url, data=BytesIO(largest), headers=headers) as response:
        assert await response.json() == {"data": {"uploadFile": {"success": True}}}
    async with session.post(url, data=BytesIO(bytes(52 << 20)), headers=headers) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body must be JSON"),
        (b"{", "the body must be JSON"),
        (b"\xff", "the body must be JSON"),
        (b"[]", "a GraphQL request is a JSON object with a query"),
        (b'{"query": 1}', "a GraphQL request is a JSON object with a query"),
        (b'{"query": "{ a }", "variables": []}', "variables must be an object and operationName a string, or null"),
        (b'{"query": "{ a }", "operationName": 1}', "variables must be an object and operationName a string, or null"),
        (CURLS_BODY[:-40], "the multipart body has no end"),
        (CURLS_BODY.replace(b'name="map"', b'nome="map"'), "a part of the multipart body has no name"),
        (CURLS_BODY.replace(b'name="map"', b'name="mup"'), "map must be JSON"),
        (b"--b\r\n--b--", "a part of the multipart body has no headers"),
        *(
            (CURLS_BODY.replace(b'{"0": ["variables.file"]}', places), "map must name the parts that hold files")
            for places in (b'{"1": ["variables.file"]}', b'{"0": ["x.y"]}', b'{"0": 1}', b"[1]", b'{"0": ["query.x"]}')
        ),
    ],
)
async def test_what_is_no_request_is_400_in_words(
    address: str, session: aiohttp.ClientSession, body: bytes, message: str
) -> None:
    async with session.post(f"http://{address}/query", data=body) as response:
        assert response.status == 400
        assert message in (await response.json())["errors"][0]["message"]


async def test_a_query_that_is_none_is_an_error(address: str, session: aiohttp.ClientSession) -> None:
    async with session.post(f"http://{address}/query", json={"query": "{ nothing }"}) as response:
        answer = await response.json()

    assert (response.status, answer["data"]) == (200, None)
    assert "nothing" in answer["errors"][0]["message"]


async def test_a_file_must_come_as_a_part(address: str, session: aiohttp.ClientSession) -> None:
    variables = {"file": "avatar.jpg"}
    async with session.post(
        f"http://{address}/query", json={"query": UPLOAD_AVATAR, "variables": variables}
    ) as response:
        answer = await response.json()

    assert "a file must be sent as a part of a multipart request" in answer["errors"][0]["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/query", 405), ("POST", "/", 404)])
async def test_other_paths_and_methods_are_refused(
    address: str, session: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with session.request(method, f"http://{address}{path}") as response:
        assert response.status == status


async def test_the_operation_is_chosen_by_its_name(address: str, session: aiohttp.ClientSession) -> None:
    query = "query A { user(id: 123) { name } } query B { user(id: 123) { email } }"
    async with session.post(f"http://{address}/query", json={"query": query, "operationName": "B"}) as response:
        assert await response.json() == {"data": {"user": {"email": "john@example.com"}}}


def test_parts_are_cut_at_the_boundary_and_nowhere_else() -> None:
    content = b"\r\n--other\r\n --b\n--b\r\n\r\n\x00\xff--"
    body = b'--b\r\nContent-Disposition: form-data; name="0"; filename="a.bin"\r\n\r\n' + content + b"\r\n--b--"

    assert parts_of(body, b"b") == [Part("0", "a.bin", "", content)]
    assert [
        (part.name, part.filename) for part in parts_of(CURLS_BODY, b"------------------------235367024e0ac129")
    ] == [
        ("operations", None),
        ("map", None),
        ("0", "avatar.jpg"),
    ]


def test_a_file_name_in_utf_8_is_read() -> None:
    body = '--b\r\nContent-Disposition: form-data; name="0"; filename="Übung.jpg"\r\n\r\n\r\n--b--'.encode()

    assert parts_of(body, b"b") == [Part("0", "Übung.jpg", "", b"")]


@pytest.mark.parametrize(
    ("content_type", "body", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"--abc\r\n", b"abc"),
        ('multipart/form-data; boundary="a b"', b"--a b\r\n", b"a b"),
        ("application/json", b"--abc\r\n", b"abc"),
        ("", b"--abc\r\n", b"abc"),
        ("application/json", b'{"query": "--abc"}', None),
        ("application/json", b"--" + b"x" * 71 + b"\r\n", None),
        ("application/json", b"--", None),
    ],
)
def test_the_boundary_is_found_by_the_label_or_the_first_line(
    content_type: str, body: bytes, boundary: bytes | None
) -> None:
    assert boundary_of(content_type, body) == boundary


def test_an_uploaded_file_shows_no_content() -> None:
    assert "secret" not in repr(UploadedFile("a.jpg", "image/jpeg", b"secret"))


def test_a_request_that_is_none_raises_one_kind_of_error() -> None:
    with pytest.raises(BadRequestError, match="the body must be JSON"):
        read("multipart/form-data; boundary=abc", b"")


def test_the_defaults_are_those_of_the_examples() -> None:
    assert GatewaySettings.read({}) == GatewaySettings(
        media_service_addr="localhost:50056", avatar_collection="avatars", gateway_addr="127.0.0.1:8080"
    )
    assert GatewaySettings.read({"AVATAR_COLLECTION": "avatar"}).avatar_collection == "avatar"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GATEWAY_ADDR", "8080"), ("MEDIA_SERVICE_ADDR", ""), ("AVATAR_COLLECTION", "two words")],
)
def test_a_setting_that_is_not_understood_is_named_with_what_is_accepted(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}: '{value}' is not understood; accepted: .+"):
        GatewaySettings.read({variable: value})


def command(directory: Path, **settings: str) -> Child:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    return Child("the gateway", [sys.executable, "-m", "examples.gateway"], directory, env)


async def test_the_command_says_when_it_is_ready_and_ends_in_good_order(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    child = command(tmp_path, GATEWAY_ADDR=address, MEDIA_SERVICE_ADDR="127.0.0.1:9")
    child.spawn()
    await until(lambda: "\n" in child.stdout, "the ready line")
    async with session.post(f"http://{address}/query", json={"query": "{ user(id: 1) { name } }"}) as response:
        assert response.status == 200
    child.signal(signal.SIGTERM)

    assert await child.exited() == 0
    assert child.stdout == f"gateway ready on http://{address}/query (media service at 127.0.0.1:9)\n"


async def test_the_command_ends_with_one_line_when_it_cannot_start(address: str, tmp_path: Path) -> None:
    used, bad = command(tmp_path / "used", GATEWAY_ADDR=address), command(tmp_path / "bad", GATEWAY_ADDR="here")
    used.spawn()
    bad.spawn()

    assert (await used.exited(), await bad.exited()) == (1, 2)
    assert used.stderr.startswith(f"gateway: cannot serve on {address}: ")
    assert bad.stderr == "gateway: GATEWAY_ADDR: 'here' is not understood; accepted: host:port\n"
