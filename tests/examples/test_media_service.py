"""The reference media service, row by row of what its callers rely on."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from examples.media_service.events import Kind
from examples.media_service.service import MediaService
from examples.media_service.signing import Signer
from examples.media_service.store import MediaStore
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub, add_MediaServiceServicer_to_server
from tests.support.servers.children import free_port
from tests.support.servers.waiting import until

if TYPE_CHECKING:
    from proxy.pb.media_pb2_grpc import MediaServiceAsyncStub

NOW = 1_700_000_000.0


class Announced:
    """The events of a service, kept in a list; `gate` holds them up."""

    def __init__(self) -> None:
        self.events: list[tuple[Kind, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, kind: Kind, media: pb.Media) -> None:
        await self.gate.wait()
        self.events.append((kind, media.id))


class Clock:
    """A clock that stands until it is set."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[MediaStore]:
    store = MediaStore(tmp_path, clock=clock)
    yield store
    store.close()


@pytest.fixture
async def announced() -> Announced:
    return Announced()


@pytest.fixture
def grpc_addr() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def grpc_add_to_server() -> Callable[..., None]:
    return add_MediaServiceServicer_to_server


@pytest.fixture
def grpc_stub_cls() -> type[MediaServiceStub]:
    return MediaServiceStub


@pytest.fixture
async def grpc_servicer(store: MediaStore, announced: Announced, clock: Clock) -> AsyncIterator[MediaService]:
    service = MediaService(store, announced, Signer(), latency=0, clock=clock)
    yield service
    await service.aclose()


@pytest.fixture
async def stub(
    grpc_aio_stub: Callable[[], AbstractAsyncContextManager[MediaServiceAsyncStub]],
) -> AsyncIterator[MediaServiceAsyncStub]:
    async with grpc_aio_stub() as stub:
        yield stub


def avatar(**changes: Any) -> pb.UploadFileRequest:
    """An upload of user 1's avatar."""
    fields: dict[str, Any] = {
        "model_type": "User",
        "model_id": 1,
        "collection_name": "avatars",
        "file_name": "avatar.jpg",
        "content": b"picture",
    }
    return pb.UploadFileRequest(**fields | changes)


async def read(stub: MediaServiceAsyncStub, **request: Any) -> pb.GetFilesByModelResponse:
    fields: dict[str, Any] = {"model_type": "user", "model_id": 1}
    return await stub.GetFilesByModel(pb.GetFilesByModelRequest(**fields | request))


async def test_an_upload_is_answered_with_its_row(stub: MediaServiceAsyncStub, announced: Announced) -> None:
    response = await stub.UploadFile(avatar(mime_type="image/jpeg", disk="s3", name="Portrait"))

    media = response.data
    assert response.success
    assert (media.model_type, media.model_id, media.collection_name) == ("User", 1, "avatars")
    assert (media.file_name, media.name, media.mime_type, media.disk) == ("avatar.jpg", "Portrait", "image/jpeg", "s3")
    assert (media.size, media.order_column, media.created_at) == (len(b"picture"), 1, int(NOW))
    assert media.uuid in media.presigned_url
    assert announced.events == [("uploaded", media.id)]


async def test_what_an_upload_does_not_say_is_worked_out(stub: MediaServiceAsyncStub) -> None:
    media = (await stub.UploadFile(avatar())).data

    assert (media.name, media.mime_type, media.disk) == ("avatar", "image/jpeg", "minio")


@pytest.mark.parametrize(
    ("field", "message"), [("model_type", "model_type is required"), ("file_name", "file_name is required")]
)
async def test_a_refused_upload_is_ok_without_success(
    stub: MediaServiceAsyncStub, announced: Announced, field: str, message: str
) -> None:
    response = await stub.UploadFile(avatar(**{field: ""}))

    assert (response.success, response.message) == (False, message)
    assert not response.HasField("data")
    assert announced.events == []


@pytest.mark.parametrize("model_type", ["User", "user", "USER"])
async def test_model_type_is_compared_without_regard_to_case_and_kept(
    stub: MediaServiceAsyncStub, model_type: str
) -> None:
    await stub.UploadFile(avatar(model_type="uSeR"))

    data = (await read(stub, model_type=model_type)).data

    assert [media.model_type for media in data.media] == ["uSeR"]


async def test_case_is_folded_beyond_ascii(stub: MediaServiceAsyncStub) -> None:
    await stub.UploadFile(avatar(model_type="STRAẞE"))

    assert (await read(stub, model_type="strasse")).data.total == 1


async def test_collection_is_compared_exactly_and_empty_means_all(stub: MediaServiceAsyncStub) -> None:
    await stub.UploadFile(avatar(collection_name="avatars"))
    await stub.UploadFile(avatar(collection_name="Avatars"))

    exact = (await read(stub, collection_name="avatars")).data
    every = (await read(stub)).data

    assert [media.collection_name for media in exact.media] == ["avatars"]
    assert [media.collection_name for media in every.media] == ["Avatars", "avatars"]


async def test_total_counts_the_whole_model_whatever_the_page(stub: MediaServiceAsyncStub) -> None:
    for collection in ("avatars", "avatars", "documents"):
        await stub.UploadFile(avatar(collection_name=collection))
    await stub.UploadFile(avatar(model_id=2))

    totals = [
        (await read(stub, **request)).data.total
        for request in ({}, {"page": 2, "per_page": 2}, {"page": 9}, {"collection_name": "avatars", "per_page": 1})
    ]

    assert totals == [3, 3, 3, 3]


async def test_pages_are_cut_newest_first(stub: MediaServiceAsyncStub) -> None:
    ids = [(await stub.UploadFile(avatar())).data.id for _ in range(5)]

    pages = [(await read(stub, page=page, per_page=2)).data for page in (1, 2, 3, 4)]

    assert [[media.id for media in page.media] for page in pages] == [ids[:2:-1], ids[2:0:-1], ids[:1], []]
    assert [(page.page, page.per_page) for page in pages] == [(1, 2), (2, 2), (3, 2), (4, 2)]


async def test_page_0_means_1_and_per_page_0_means_20(stub: MediaServiceAsyncStub) -> None:
    for _ in range(21):
        await stub.UploadFile(avatar())

    data = (await read(stub)).data

    assert (data.page, data.per_page, len(data.media), data.total) == (1, 20, 20, 21)


@pytest.mark.parametrize("request_fields", [{"per_page": 101}, {"per_page": -1}, {"page": -1}, {"model_type": ""}])
async def test_an_invalid_read_is_ok_without_success(
    stub: MediaServiceAsyncStub, request_fields: dict[str, Any]
) -> None:
    response = await read(stub, **request_fields)

    assert not response.success
    assert response.message
    assert (await read(stub, per_page=100)).success


async def test_a_model_without_files_is_a_success(stub: MediaServiceAsyncStub) -> None:
    response = await read(stub, model_id=404)

    assert response.success
    assert (list(response.data.media), response.data.total) == ([], 0)


async def test_one_file_by_id_and_by_uuid(stub: MediaServiceAsyncStub) -> None:
    media = (await stub.UploadFile(avatar())).data

    assert (await stub.GetFileByID(pb.GetFileByIDRequest(id=media.id))).data == media
    assert (await stub.GetFileByUUID(pb.GetFileByUUIDRequest(uuid=media.uuid))).data == media


async def test_a_deleted_file_is_gone_from_every_read(
    stub: MediaServiceAsyncStub, announced: Announced, tmp_path: Path
) -> None:
    media = (await stub.UploadFile(avatar())).data
    assert (tmp_path / "contents" / media.uuid).read_bytes() == b"picture"

    deleted = await stub.DeleteFile(pb.DeleteFileRequest(id=media.id))

    assert deleted.success
    assert (await read(stub)).data.total == 0
    assert not (await stub.GetFileByID(pb.GetFileByIDRequest(id=media.id))).success
    assert not (await stub.GetFileByUUID(pb.GetFileByUUIDRequest(uuid=media.uuid))).success
    assert not (tmp_path / "contents" / media.uuid).exists()
    assert announced.events == [("uploaded", media.id), ("deleted", media.id)]


async def test_what_is_not_there_is_ok_without_success(stub: MediaServiceAsyncStub, announced: Announced) -> None:
    responses = (
        await stub.GetFileByID(pb.GetFileByIDRequest(id=7)),
        await stub.GetFileByUUID(pb.GetFileByUUIDRequest(uuid="7")),
        await stub.DeleteFile(pb.DeleteFileRequest(id=7)),
        await stub.GetFileURL(pb.GetFileURLRequest(id=7)),
    )

    assert [response.success for response in responses] == [False] * 4
    assert all("no file with" in response.message for response in responses)
    assert announced.events == []


async def test_a_database_that_is_away_is_ok_without_success(stub: MediaServiceAsyncStub, store: MediaStore) -> None:
    store.close()

    response = await read(stub)

    assert (response.success, response.message) == (False, "the database is away")


async def test_contents_that_cannot_be_kept_are_ok_without_success(
    stub: MediaServiceAsyncStub, announced: Announced, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "contents")

    assert not (await stub.UploadFile(avatar())).success
    assert announced.events == []


async def test_all_media_by_type_and_collection(stub: MediaServiceAsyncStub) -> None:
    await stub.UploadFile(avatar())
    await stub.UploadFile(avatar(model_type="Product", collection_name="images"))
    await stub.UploadFile(avatar(model_type="Product", collection_name="manuals"))

    async def total(**request: Any) -> int:
        return (await stub.GetAllMedia(pb.GetAllMediaRequest(**request))).data.total

    assert await total() == 3
    assert await total(model_type="product") == 2
    assert await total(collection_name="avatars") == 1
    assert await total(model_type="PRODUCT", collection_name="images", per_page=1) == 1
    assert not (await stub.GetAllMedia(pb.GetAllMediaRequest(per_page=101))).success


@pytest.mark.parametrize("model_id", [2**63 - 1, 2**53 + 1, -(2**63)])
async def test_ids_are_exact_beyond_2_to_the_53rd(stub: MediaServiceAsyncStub, model_id: int) -> None:
    await stub.UploadFile(avatar(model_id=model_id))

    assert [media.model_id for media in (await read(stub, model_id=model_id)).data.media] == [model_id]
    assert (await read(stub, model_id=model_id - 1 if model_id > 0 else model_id + 1)).data.total == 0


async def test_a_url_lives_as_long_as_asked(stub: MediaServiceAsyncStub) -> None:
    media = (await stub.UploadFile(avatar())).data

    async def url(expiry: int) -> pb.GetFileURLResponse:
        return await stub.GetFileURL(pb.GetFileURLRequest(id=media.id, expiry_seconds=expiry))

    assert (await url(60)).data.expires_at == int(NOW) + 60
    assert query((await url(60)).data.url)["X-Amz-Expires"] == "60"
    assert (await url(0)).data.expires_at == int(NOW) + 86400
    assert not (await url(-1)).success
    assert not (await url(7 * 86400 + 1)).success


async def test_every_read_signs_anew(stub: MediaServiceAsyncStub, clock: Clock) -> None:
    await stub.UploadFile(avatar())

    before = query((await read(stub)).data.media[0].presigned_url)
    clock.now += 61
    after = query((await read(stub)).data.media[0].presigned_url)

    assert (before["X-Amz-Date"], after["X-Amz-Date"]) == ("20231114T221320Z", "20231114T221421Z")
    assert before["X-Amz-Signature"] != after["X-Amz-Signature"]
    assert before["X-Amz-Expires"] == "86400"


async def test_an_upload_whose_caller_goes_away_is_announced_all_the_same(
    stub: MediaServiceAsyncStub, announced: Announced, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    announced.gate.clear()
    call = stub.UploadFile(avatar())
    await until(lambda: read_total(stub), "the commit")

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: "UploadFile" in caplog.text, "the service to notice")
    assert announced.events == []
    announced.gate.set()

    await until(lambda: announced.events == [("uploaded", 1)], "the event")


async def read_total(stub: MediaServiceAsyncStub) -> int:
    return (await read(stub)).data.total


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
