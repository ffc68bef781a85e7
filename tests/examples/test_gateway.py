"""What the reference gateway answers, in front of the reference media service."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from examples.gateway import server as gateway
from examples.gateway.settings import GatewaySettings
from examples.gateway.users import Person
from examples.media_service import server as media_service
from examples.media_service.settings import MediaSettings
from proxy.pb import media_pb2 as pb
from tests.support.servers.children import free_port
from tests.support.servers.waiting import until

ANY_PORT = "127.0.0.1:0"
FIRST_ID = 2**53 + 1

AVATAR = """
query GetUserProfile($userId: ID!) {
  user(id: $userId) {
    id
    name
    email
    avatar {
      id
      uuid
      fileName
      mimeType
      size
      # Pre-signed URL can be fetched separately via mediaURL query
    }
  }
}
"""
UPLOAD = "mutation($input: UploadFileInput!) { uploadFile(input: $input) { success message data { %s } } }"
DELETE = "mutation($id: ID!) { deleteMedia(id: $id) { success message } }"


class Client:
    """Asks a gateway."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self.url = f"http://{address}/query"

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole answer."""
        async with self._session.post(self.url, json={"query": query, "variables": variables}) as response:
            assert response.status == 200
            answer: dict[str, Any] = await response.json()
            return answer

    async def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        answer = await self.ask(query, **variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    async def upload(self, fields: str = "id", **changes: Any) -> dict[str, Any]:
        """The answer to an upload of user 1's avatar."""
        given = {"file": None, "modelType": "User", "modelId": "1", "collectionName": "avatars"} | changes
        form = aiohttp.FormData()
        operations = {"query": UPLOAD % fields, "variables": {"input": given}}
        form.add_field("operations", aiohttp.JsonPayload(operations), content_type="application/json")
        form.add_field("map", aiohttp.JsonPayload({"0": ["variables.input.file"]}), content_type="application/json")
        form.add_field("0", b"picture", filename="avatar.jpg", content_type="image/jpeg")
        async with self._session.post(self.url, data=form) as response:
            assert response.status == 200
            answer = await response.json()
            assert "errors" not in answer, answer
            result: dict[str, Any] = answer["data"]["uploadFile"]
            return result

    async def total(self, **of: Any) -> int:
        """How many files a model has."""
        query = "query($t: String!, $i: ID!) { mediaByModel(modelType: $t, modelId: $i) { total } }"
        total: int = (await self.data(query, **{"t": "User", "i": "1"} | of))["mediaByModel"]["total"]
        return total


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def media(tmp_path: Path) -> AsyncIterator[media_service.Running]:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, seed=True, first_id=FIRST_ID, data_dir=tmp_path)
    async with media_service.running(settings) as media:
        yield media


@pytest.fixture
async def client(session: aiohttp.ClientSession, media: media_service.Running) -> AsyncIterator[Client]:
    settings = GatewaySettings(media_service_addr=media.address, gateway_addr=ANY_PORT)
    async with gateway.running(settings) as address:
        yield Client(session, address)


@pytest.fixture
async def away(session: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """A gateway whose media service is away."""
    settings = GatewaySettings(media_service_addr=f"127.0.0.1:{free_port()}", gateway_addr=ANY_PORT)
    async with gateway.running(settings) as address:
        yield Client(session, address)


async def test_a_user_with_avatar_looks_as_described(client: Client) -> None:
    data = await client.data(AVATAR, userId="123")

    uuid = data["user"]["avatar"].pop("uuid")
    assert len(uuid) == 36
    assert data == {
        "user": {
            "id": "123",
            "name": "John Doe",
            "email": "john@example.com",
            "avatar": {
                "id": str(FIRST_ID + 1),
                "fileName": "avatar.jpg",
                "mimeType": "image/jpeg",
                "size": 52428,
            },
        }
    }


def test_users_are_the_same_at_each_start_and_not_all_one() -> None:
    assert Person.with_id(123) == Person(123, "John Doe", "john@example.com")
    assert Person.with_id(-(2**63)).email.endswith("@example.com")
    assert len({Person.with_id(user).name for user in range(56)}) == 56


async def test_a_user_without_files_has_no_avatar(client: Client) -> None:
    assert (await client.data(AVATAR, userId="404"))["user"]["avatar"] is None


async def test_an_avatar_is_one_read_and_no_answer_is_kept(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        await client.data(AVATAR, userId="1")

    reads = [line for line in caplog.messages if line.startswith("GetFilesByModel")]
    assert len(reads) == 2
    assert all("model_type='user' model_id=1 collection_name='avatars' page=1 per_page=1:" in read for read in reads)


async def test_the_avatars_collection_is_a_setting(
    session: aiohttp.ClientSession, media: media_service.Running
) -> None:
    settings = GatewaySettings(media_service_addr=media.address, gateway_addr=ANY_PORT, avatar_collection="avatar")
    async with gateway.running(settings) as address:
        client = Client(session, address)
        assert (await client.data(AVATAR, userId="1"))["user"]["avatar"] is None
        await client.upload(collectionName="avatar")
        assert (await client.data(AVATAR, userId="1"))["user"]["avatar"] is not None


async def test_without_the_media_service_an_avatar_is_null_and_the_user_is_there(away: Client) -> None:
    data = await away.data(AVATAR, userId="123")

    assert data == {"user": {"id": "123", "name": "John Doe", "email": "john@example.com", "avatar": None}}


async def test_the_avatar_is_back_with_the_media_service(session: aiohttp.ClientSession) -> None:
    target = f"127.0.0.1:{free_port()}"
    async with gateway.running(GatewaySettings(media_service_addr=target, gateway_addr=ANY_PORT)) as address:
        client = Client(session, address)

        async def avatar() -> object:
            return (await client.data(AVATAR, userId="1"))["user"]["avatar"]

        assert await avatar() is None
        async with media_service.running(MediaSettings(listen_addr=target, latency=0, seed=True)):
            await until(avatar, "the avatar")


async def test_an_avatar_is_null_when_the_media_service_fails(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "media.sqlite3") as database:
        database.execute("drop table media")
    database.close()

    assert (await client.data(AVATAR, userId="1"))["user"]["avatar"] is None
    assert "no avatar for user 1: the database is away" in caplog.messages


async def test_without_the_media_service_other_reads_are_errors(away: Client) -> None:
    answer = await away.ask('{ mediaURL(id: "1") { url } mediaByModel(modelType: "User", modelId: "1") { total } }')

    assert answer["data"] == {"mediaURL": None, "mediaByModel": None}
    assert {error["message"] for error in answer["errors"]} == {"the media service cannot be reached (UNAVAILABLE)"}


async def test_without_the_media_service_writes_say_that_they_failed(away: Client) -> None:
    failed = {"success": False, "message": "the media service cannot be reached (UNAVAILABLE)"}

    assert await away.upload() == failed | {"data": None}
    assert (await away.data(DELETE, id="1"))["deleteMedia"] == failed


async def test_media_by_model_is_paged_and_narrowed(client: Client) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        await client.upload(collectionName="images", modelType="Product", modelId="7", fileName=name)
    query = """query($collection: String!, $page: Int!, $perPage: Int!) {
        mediaByModel(modelType: "product", modelId: "7", collectionName: $collection, page: $page, perPage: $perPage) {
            total page perPage media { fileName modelType modelId collectionName }
        }
    }"""

    second = (await client.data(query, collection="images", page=2, perPage=2))["mediaByModel"]
    other = (await client.data(query, collection="manuals", page=1, perPage=2))["mediaByModel"]

    oldest = {"fileName": "a.jpg", "modelType": "Product", "modelId": "7", "collectionName": "images"}
    assert second == {"total": 3, "page": 2, "perPage": 2, "media": [oldest]}
    assert other["media"] == []


async def test_what_the_media_service_refuses_is_an_error(client: Client) -> None:
    answer = await client.ask('{ mediaByModel(modelType: "User", modelId: "1", perPage: 101) { total } }')

    assert answer["data"] == {"mediaByModel": None}
    assert [error["message"] for error in answer["errors"]] == ["per_page 101 is not 0 to 100"]


async def test_a_url_is_signed_for_as_long_as_asked(client: Client) -> None:
    signed = await client.data(
        "query($id: ID!) { mediaURL(id: $id, expirySeconds: 60) { url expiresAt } }", id=FIRST_ID
    )

    assert "X-Amz-Expires=60&" in signed["mediaURL"]["url"]
    assert signed["mediaURL"]["expiresAt"] > 1_700_000_000


async def test_an_upload_is_answered_with_its_file(client: Client) -> None:
    result = await client.upload("id uuid fileName mimeType size presignedURL createdAt", fileName="profile.jpg")

    assert (result["success"], result["message"]) == (True, "uploaded")
    assert (result["data"]["fileName"], result["data"]["mimeType"], result["data"]["size"]) == (
        "profile.jpg",
        "image/jpeg",
        7,
    )
    assert (await client.data(AVATAR, userId="1"))["user"]["avatar"]["uuid"] == result["data"]["uuid"]


async def test_an_upload_without_a_name_keeps_its_own(client: Client) -> None:
    assert (await client.upload("fileName"))["data"] == {"fileName": "avatar.jpg"}


async def test_a_new_avatar_replaces_all_others(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await client.upload()
    await client.upload(modelType="USER")

    assert await client.total() == 1
    reads = [line for line in caplog.messages if line.startswith("GetFilesByModel") and "avatars" in line]
    assert all("model_type='user' model_id=1 collection_name='avatars' page=1 per_page=100:" in read for read in reads)
    assert len(reads) == 2


async def test_other_uploads_replace_nothing(client: Client) -> None:
    for _ in range(2):
        await client.upload(collectionName="documents")
        await client.upload(modelType="Product")

    assert (await client.total(t="User"), await client.total(t="Product")) == (3, 2)
    assert (await client.data(AVATAR, userId="1"))["user"]["avatar"]["id"] == str(FIRST_ID)


async def test_a_deleted_file_is_gone(client: Client) -> None:
    assert (await client.data(DELETE, id=FIRST_ID))["deleteMedia"] == {"success": True, "message": "deleted"}

    assert (await client.data(AVATAR, userId="1"))["user"]["avatar"] is None
    again = (await client.data(DELETE, id=str(FIRST_ID)))["deleteMedia"]
    assert again == {"success": False, "message": f"no file with id {FIRST_ID}"}


async def test_ids_are_exact_to_the_last_of_64_bits(client: Client) -> None:
    uploaded = (await client.upload("id modelId", modelId=str(2**63 - 1)))["data"]

    assert uploaded == {"id": str(FIRST_ID + 2), "modelId": "9223372036854775807"}
    assert await client.total(i=str(2**63 - 1)) == 1
    assert await client.total(i=str(2**63 - 2)) == 0


@pytest.mark.parametrize("user", ["12x", "", str(2**63)])
async def test_an_id_that_is_none_is_an_error(client: Client, user: str) -> None:
    answer = await client.ask(AVATAR, userId=user)

    assert answer["data"] == {"user": None}
    assert answer["errors"][0]["message"] == f"id must be a whole number of 64 bits, not {user!r}"


async def test_no_metadata_of_its_own_is_sent(session: aiohttp.ClientSession) -> None:
    seen: list[str] = []

    class Recorder(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
            seen.extend(key for key, _ in details.invocation_metadata or ())
            return grpc.unary_unary_rpc_method_handler(answer)

    async def answer(request: bytes, context: object) -> bytes:
        return pb.GetFilesByModelResponse(success=True).SerializeToString()

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Recorder(),))
    target = f"127.0.0.1:{server.add_insecure_port(ANY_PORT)}"
    await server.start()
    async with gateway.running(GatewaySettings(media_service_addr=target, gateway_addr=ANY_PORT)) as address:
        await Client(session, address).data(AVATAR, userId="1")
    await server.stop(None)

    assert seen == ["user-agent"]
