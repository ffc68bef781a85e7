"""The reference media service as a whole: its settings, its listener, its command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from examples.media_service.server import Running, running
from examples.media_service.service import LARGEST_UPLOAD
from examples.media_service.settings import MediaSettings
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.servers.children import Child, free_port
from tests.support.servers.waiting import until

if TYPE_CHECKING:
    from proxy.pb.media_pb2_grpc import MediaServiceAsyncStub

ROOT = Path(__file__).parents[2]
ANY_PORT = "127.0.0.1:0"


@asynccontextmanager
async def serving(settings: MediaSettings) -> AsyncIterator[tuple[MediaServiceAsyncStub, Running]]:
    unlimited = (("grpc.max_send_message_length", -1),)
    async with (
        running(settings) as service,
        grpc.aio.insecure_channel(service.address, options=unlimited) as channel,
    ):
        yield MediaServiceStub(channel), service


def upload(size: int = 1) -> pb.UploadFileRequest:
    return pb.UploadFileRequest(model_type="User", model_id=1, file_name="a.bin", content=bytes(size))


OF_USER_1 = pb.GetFilesByModelRequest(model_type="user", model_id=1)


async def test_an_upload_of_50_mib_is_taken_and_one_byte_more_refused_in_words() -> None:
    async with serving(MediaSettings(listen_addr=ANY_PORT)) as (stub, _):
        largest = await stub.UploadFile(upload(LARGEST_UPLOAD))
        above = await stub.UploadFile(upload(LARGEST_UPLOAD + 1))

    assert (largest.success, largest.data.size) == (True, 50 * 1024 * 1024)
    assert (above.success, above.message) == (False, "content is above 50 MiB")


@pytest.mark.parametrize(
    "method",
    ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"],
)
async def test_it_serves_neither_health_nor_reflection(method: str) -> None:
    async with (
        running(MediaSettings(listen_addr=ANY_PORT)) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(method, bytes, bytes)(b"")

    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_read_takes_its_latency() -> None:
    loop = asyncio.get_running_loop()
    async with serving(MediaSettings(listen_addr=ANY_PORT, latency=0.2)) as (stub, _):
        started = loop.time()
        await stub.GetFilesByModel(OF_USER_1)

    assert loop.time() - started >= 0.2


async def test_urls_live_as_long_as_the_setting_says() -> None:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, seed=True, presign_expires=30)
    async with serving(settings) as (stub, _):
        response = await stub.GetFilesByModel(OF_USER_1)

    assert "X-Amz-Expires=30&" in response.data.media[0].presigned_url


async def test_a_seeded_service_has_the_avatars_of_the_examples_once(tmp_path: Path) -> None:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, seed=True, data_dir=tmp_path)
    for _ in ("first start", "second start"):
        async with serving(settings) as (stub, _service):
            every = (await stub.GetAllMedia(pb.GetAllMediaRequest())).data.media

    assert [(media.model_type, media.model_id, media.collection_name) for media in every] == [
        ("User", 123, "avatars"),
        ("User", 1, "avatars"),
    ]
    assert (every[0].file_name, every[0].mime_type, every[0].size) == ("avatar.jpg", "image/jpeg", 52428)


async def test_files_outlive_the_process_in_a_directory_of_their_own(tmp_path: Path) -> None:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, data_dir=tmp_path / "new")
    async with serving(settings) as (stub, _):
        kept = (await stub.UploadFile(upload())).data
    async with serving(settings) as (stub, _):
        assert (await stub.GetFileByID(pb.GetFileByIDRequest(id=kept.id))).data.uuid == kept.uuid
        assert (await stub.UploadFile(upload())).data.id == kept.id + 1


async def test_without_a_directory_nothing_is_left() -> None:
    async with running(MediaSettings(listen_addr=ANY_PORT)) as service:
        assert service.directory.is_dir()

    assert not service.directory.exists()


async def test_ids_begin_where_the_setting_says() -> None:
    settings = MediaSettings(listen_addr=ANY_PORT, latency=0, first_id=2**53 + 1)
    async with serving(settings) as (stub, _):
        ids = [(await stub.UploadFile(upload())).data.id for _ in range(3)]

    assert ids == [2**53 + 1, 2**53 + 2, 2**53 + 3]


def test_the_defaults_are_those_of_the_real_service() -> None:
    settings = MediaSettings.read({})

    assert (settings.listen_addr, settings.latency, settings.presign_expires) == ("localhost:50056", 0.05, 86400)
    assert settings.rabbitmq_addr == ("amqp://guest:guest@localhost:5672/",)
    assert (settings.data_dir, settings.first_id, settings.seed) == (None, 1, False)
    assert MediaSettings.read({"RABBITMQ_ADDR": ""}).rabbitmq_addr == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LISTEN_ADDR", "50056"),
        ("LISTEN_ADDR", "localhost:70000"),
        ("RABBITMQ_ADDR", "http://localhost/"),
        ("LATENCY", "soon"),
        ("PRESIGN_EXPIRES", "0"),
        ("PRESIGN_EXPIRES", "604801"),
        ("FIRST_ID", "-1"),
        ("SEED", "yes"),
    ],
)
def test_a_setting_that_is_not_understood_is_named_with_what_is_accepted(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}: '{value}' is not understood; accepted: .+"):
        MediaSettings.read({variable: value})


def test_a_credential_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"RABBITMQ_ADDR: '.*//\*\*\*@host") as failed:
        MediaSettings.read({"RABBITMQ_ADDR": "ftp://user:hunter2@host/"})

    assert "hunter2" not in str(failed.value)


def command(directory: Path, settings: Mapping[str, str]) -> Child:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RABBITMQ_ADDR": "", **settings}
    return Child("the media service", [sys.executable, "-m", "examples.media_service"], directory, env)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_says_when_it_is_ready_and_ends_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    child = command(tmp_path, {"LISTEN_ADDR": f"127.0.0.1:{free_port()}", "SEED": "1"})
    child.spawn()
    await until(lambda: "\n" in child.stdout, "the ready line")
    address = child.env["LISTEN_ADDR"] if child.env else ""
    async with grpc.aio.insecure_channel(address) as channel:
        response = await MediaServiceStub(channel).GetFilesByModel(OF_USER_1)
    child.signal(number)

    assert await child.exited() == 0
    assert child.stdout.startswith(f"media service ready on {address} (files in ")
    assert child.stdout.count("\n") == 1
    assert response.data.total == 1
    assert "GetFilesByModel model_type='user' model_id=1: ok" in child.stderr


async def test_a_bad_setting_ends_the_command_with_one_line_and_status_2(tmp_path: Path) -> None:
    child = command(tmp_path, {"LATENCY": "soon"})
    child.spawn()

    assert await child.exited() == 2
    assert child.stderr.startswith("media service: LATENCY: 'soon' is not understood")
    assert child.stderr.count("\n") == 1


async def test_an_address_in_use_ends_the_command_with_status_1(tmp_path: Path) -> None:
    async with running(MediaSettings(listen_addr=ANY_PORT)) as service:
        child = command(tmp_path, {"LISTEN_ADDR": service.address})
        child.spawn()

        assert await child.exited() == 1
    assert f"media service: cannot serve on {service.address}" in child.stderr
