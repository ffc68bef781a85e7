"""The events of the reference media service, on a real RabbitMQ."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import grpc
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from examples.media_service.server import Running, running
from examples.media_service.settings import MediaSettings
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.servers.children import free_port
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

if TYPE_CHECKING:
    from proxy.pb.media_pb2_grpc import MediaServiceAsyncStub


@asynccontextmanager
async def serving(*urls: str) -> AsyncIterator[tuple[MediaServiceAsyncStub, Running]]:
    settings = MediaSettings(listen_addr="127.0.0.1:0", rabbitmq_addr=urls, latency=0)
    async with running(settings) as service, grpc.aio.insecure_channel(service.address) as channel:
        yield MediaServiceStub(channel), service


@asynccontextmanager
async def subscriber(url: str) -> AsyncIterator[AbstractQueue]:
    """A queue that gets every media event. The exchange must be there, and be declared as we know it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("damar.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "media.event.#")
        yield queue


async def next_of(queue: AbstractQueue) -> AbstractIncomingMessage:
    async with queue.iterator(no_ack=True, timeout=10) as messages:
        return await anext(aiter(messages))


def data_of(message: AbstractIncomingMessage) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.b64decode(json.loads(message.body)["data"], validate=True))
    return decoded


def avatar(**changes: Any) -> pb.UploadFileRequest:
    fields: dict[str, Any] = {
        "model_type": "User",
        "model_id": 123,
        "collection_name": "avatar",
        "file_name": "avatar.jpg",
        "content": b"picture",
    }
    return pb.UploadFileRequest(**fields | changes)


async def test_an_upload_is_published(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(url) as (stub, service), subscriber(url) as queue:
        await service.events.connected.wait()
        before = int(time.time())
        media = (await stub.UploadFile(avatar())).data
        message = await next_of(queue)

    assert message.routing_key == "media.event.uploaded"
    assert json.loads(message.body).keys() == {"ownerId", "data"}
    assert json.loads(message.body)["ownerId"] == "123"
    assert data_of(message) == {
        "media_id": media.id,
        "uuid": media.uuid,
        "model_type": "User",
        "model_id": 123,
        "collection_name": "avatar",
        "file_name": "avatar.jpg",
        "mime_type": "image/jpeg",
        "size": 7,
    }
    assert (message.content_type, message.delivery_mode) == ("application/json", aio_pika.DeliveryMode.PERSISTENT)
    assert (message.headers, message.message_id) == ({}, None)
    assert message.timestamp is not None
    assert before <= message.timestamp.timestamp() <= time.time()


async def test_a_deletion_is_published_without_type_and_size(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(url) as (stub, service), subscriber(url) as queue:
        await service.events.connected.wait()
        media = (await stub.UploadFile(avatar())).data
        await next_of(queue)
        await stub.DeleteFile(pb.DeleteFileRequest(id=media.id))
        message = await next_of(queue)

    assert message.routing_key == "media.event.deleted"
    assert data_of(message) == {
        "media_id": media.id,
        "uuid": media.uuid,
        "model_type": "User",
        "model_id": 123,
        "collection_name": "avatar",
        "file_name": "avatar.jpg",
    }


async def test_an_id_beyond_2_to_the_53rd_is_exact(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(url) as (stub, service), subscriber(url) as queue:
        await service.events.connected.wait()
        await stub.UploadFile(avatar(model_id=2**63 - 1))
        message = await next_of(queue)

    assert data_of(message)["model_id"] == 2**63 - 1
    assert json.loads(message.body)["ownerId"] == "9223372036854775807"


async def test_what_failed_is_not_published(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(url) as (stub, service), subscriber(url) as queue:
        await service.events.connected.wait()
        await stub.UploadFile(avatar(file_name=""))
        await stub.DeleteFile(pb.DeleteFileRequest(id=404))
        kept = (await stub.UploadFile(avatar())).data
        message = await next_of(queue)

    assert data_of(message)["media_id"] == kept.id


async def test_an_event_that_nobody_is_bound_to_harms_nothing(
    rabbit: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(await rabbit.vhost()) as (stub, service):
        await service.events.connected.wait()

        assert (await stub.UploadFile(avatar())).success
        assert service.events.connected.is_set()
    assert "event lost" not in caplog.text


async def test_the_second_node_is_taken_when_the_first_is_away(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(f"amqp://guest:guest@127.0.0.1:{free_port()}/", url) as (stub, service):
        await service.events.connected.wait()
        async with subscriber(url) as queue:
            await stub.UploadFile(avatar())
            assert (await next_of(queue)).routing_key == "media.event.uploaded"


async def test_without_rabbitmq_it_works_and_says_which_event_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    url = f"amqp://guest:hunter2@127.0.0.1:{free_port()}/"
    async with serving(url) as (stub, _):
        await until(lambda: "RabbitMQ away" in caplog.text, "the warning")
        uploaded = await stub.UploadFile(avatar())
        deleted = await stub.DeleteFile(pb.DeleteFileRequest(id=uploaded.data.id))

    assert (uploaded.success, deleted.success) == (True, True)
    assert f"event lost: media.event.uploaded of file {uploaded.data.id}, no RabbitMQ" in caplog.text
    assert f"event lost: media.event.deleted of file {uploaded.data.id}, no RabbitMQ" in caplog.text
    assert "hunter2" not in caplog.text


async def test_with_events_off_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving() as (stub, _):
        assert (await stub.UploadFile(avatar())).success

    assert caplog.text == ""


async def test_it_reconnects_when_the_broker_is_back(
    own_rabbit: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = await own_rabbit.vhost()
    async with serving(url) as (stub, service):
        await service.events.connected.wait()
        own_rabbit.kill()
        await until(lambda: not service.events.connected.is_set(), "the loss to be noticed")
        lost = await stub.UploadFile(avatar())
        await own_rabbit.start()
        await service.events.connected.wait()
        async with subscriber(url) as queue:
            kept = (await stub.UploadFile(avatar())).data
            message = await next_of(queue)

    assert lost.success
    assert f"event lost: media.event.uploaded of file {lost.data.id}" in caplog.text
    assert data_of(message)["media_id"] == kept.id


async def test_a_broker_that_hangs_costs_an_upload_its_event_and_not_its_success(
    own_rabbit: RabbitServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.publisher._PUBLISH_TIMEOUT", 0.2)
    async with serving(await own_rabbit.vhost()) as (stub, service):
        await service.events.connected.wait()
        own_rabbit.freeze()
        uploaded = await stub.UploadFile(avatar())
        own_rabbit.thaw()

    assert uploaded.success
    assert f"event lost: media.event.uploaded of file {uploaded.data.id}, TimeoutError" in caplog.text


async def test_it_stops_while_the_broker_hangs(own_rabbit: RabbitServer) -> None:
    async with serving(await own_rabbit.vhost()) as (_, service):
        await service.events.connected.wait()
        own_rabbit.freeze()

    assert not service.events.connected.is_set()


async def test_it_stops_while_it_connects_to_a_broker_that_hangs(own_rabbit: RabbitServer) -> None:
    url = await own_rabbit.vhost()
    own_rabbit.freeze()
    async with FaultyTcp(own_rabbit.port) as tcp:
        async with serving(f"amqp://guest:guest@{tcp.addr}/{url.rpartition('/')[2]}") as (_, service):
            await tcp.connected(1)

    assert not service.events.connected.is_set()
