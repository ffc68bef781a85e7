"""`MediaClient`: the gateway's long-lived channel to the media service, or to the proxy in front of it."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc

from examples.gateway.answers import done
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub

_READ_TIMEOUT = 5.0
_WRITE_TIMEOUT = 60.0
_UNLIMITED = -1
_OPTIONS = (
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
    # So that the gateway reconnects within a second, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class MediaClient:
    """The gateway's calls. Each raises ServiceError for a status other than OK and for `success = false`."""

    def __init__(self, target: str, interceptors: "Sequence[grpc.aio.ClientInterceptor]" = ()) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS, interceptors=interceptors)
        self._stub = MediaServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def files(
        self, model_type: str, model_id: int, collection: str, page: int, per_page: int
    ) -> pb.GetFilesByModelData:
        """Returns a page of a model's files."""
        request = pb.GetFilesByModelRequest(
            model_type=model_type, model_id=model_id, collection_name=collection, page=page, per_page=per_page
        )
        return (await done(self._stub.GetFilesByModel(request, timeout=_READ_TIMEOUT), "media")).data

    async def url(self, media_id: int, expiry_seconds: int) -> pb.GetFileURLData:
        """A signed URL of a file; 0 seconds: the service's default life."""
        request = pb.GetFileURLRequest(id=media_id, expiry_seconds=expiry_seconds)
        return (await done(self._stub.GetFileURL(request, timeout=_READ_TIMEOUT), "media")).data

    async def upload(self, request: pb.UploadFileRequest) -> pb.UploadFileResponse:
        """Uploads a file, and returns the complete answer."""
        return await done(self._stub.UploadFile(request, timeout=_WRITE_TIMEOUT), "media")

    async def delete(self, media_id: int) -> str:
        """Deletes a file; returns the service's message."""
        return (
            await done(self._stub.DeleteFile(pb.DeleteFileRequest(id=media_id), timeout=_WRITE_TIMEOUT), "media")
        ).message
