"""Calls the proxy like a gateway: reads, with the metadata of the answer; and events like the media service's."""

import base64
import json
import time
from dataclasses import dataclass

import aio_pika
import grpc.aio

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from proxy.tls import Leg
from proxy.transport.credentials import open_channel
from tests.support.servers.waiting import until


@dataclass(frozen=True, slots=True)
class Read:
    """One GetFilesByModel call."""

    response: pb.GetFilesByModelResponse
    x_cache: str
    age: str | None
    seconds: float

    @property
    def uuids(self) -> list[str]:
        return [media.uuid for media in self.response.data.media]


class Gateway:
    """One long-lived channel to an address."""

    def __init__(self, addr: str, tls: Leg | None = None) -> None:
        self._channel = grpc.aio.insecure_channel(addr) if tls is None else open_channel(addr, tls)
        self.stub = MediaServiceStub(self._channel)

    async def read(
        self,
        model_type: str = "User",
        model_id: int = 1,
        collection: str = "avatars",
        *,
        per_page: int = 1,
        metadata: tuple[tuple[str, str], ...] = (),
        timeout: float | None = None,
    ) -> Read:
        """Raises AioRpcError for a status other than OK."""
        request = pb.GetFilesByModelRequest(
            model_type=model_type, model_id=model_id, collection_name=collection, page=1, per_page=per_page
        )
        begun = time.perf_counter()
        call = self.stub.GetFilesByModel(request, metadata=metadata, timeout=timeout)
        response = await call
        seconds = time.perf_counter() - begun
        trailing = {key: value for key, value in await call.trailing_metadata() or () if isinstance(value, str)}
        return Read(response, trailing["x-cache"], trailing.get("age"), seconds)

    async def x_cache(self, model_id: int = 1) -> str:
        """Returns only the answer's `x-cache`."""
        return (await self.read(model_id=model_id)).x_cache

    async def hits(
        self, *model_ids: int, model_type: str = "User", collection: str = "avatars", within: float = 30
    ) -> None:
        """Reads until each answer is a hit; the second one is, unless a busy machine keeps Redis from storing one."""

        async def all_hit() -> bool:
            reads = [await self.read(model_type, model_id, collection) for model_id in model_ids or (1,)]
            return all(read.x_cache == "hit" for read in reads)

        await until(all_hit, "hits", within)

    async def upload(self, model_id: int = 1, collection: str = "avatars") -> pb.UploadFileResponse:
        request = pb.UploadFileRequest(
            content=b"pixels", model_type="User", model_id=model_id, collection_name=collection, file_name="a.jpg"
        )
        response: pb.UploadFileResponse = await self.stub.UploadFile(request)
        return response

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def publish(
    url: str,
    model_id: int,
    *,
    model_type: str = "user",
    collection: str = "avatars",
    headers: dict[str, str] | None = None,
) -> None:
    """Publishes an upload's event exactly like the media service; `headers` are those of a traced publisher."""
    inner = {"media_id": 1, "uuid": "u", "model_type": model_type, "model_id": model_id, "collection_name": collection}
    body = json.dumps({"ownerId": str(model_id), "data": base64.b64encode(json.dumps(inner).encode()).decode()})
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("damar.events", aio_pika.ExchangeType.TOPIC, durable=True)
        message = aio_pika.Message(
            body.encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            timestamp=int(time.time()),
            headers=dict(headers or {}),
        )
        await exchange.publish(message, routing_key="media.event.uploaded")
