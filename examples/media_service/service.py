# ruff: noqa: N802 -- the methods are named as on the wire
"""`MediaService`: the seven methods, their validation, and the log line of each call."""

import asyncio
import functools
import logging
import mimetypes
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from examples.media_service.events import Kind
from examples.media_service.settings import S3_LONGEST
from examples.media_service.signing import Signer
from examples.media_service.store import MediaStore
from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceServicer

LARGEST_UPLOAD = 50 << 20
_LARGEST_PAGE = 100
_log = logging.getLogger(__name__)

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")


class Events(Protocol):
    """Announces changes."""

    async def publish(self, kind: Kind, media: pb.Media) -> None: ...


class RefusedError(Exception):
    """A failure for the caller, as gRPC OK with `success = false` and this text."""


def _answers(
    response: Callable[..., _Response],
) -> Callable[
    [Callable[["MediaService", _Request], Awaitable[_Response]]],
    Callable[["MediaService", _Request, object], Awaitable[_Response]],
]:
    """Turns a method that returns or raises into an RPC method: every failure is a `response` without success."""

    def decorate(
        method: Callable[["MediaService", _Request], Awaitable[_Response]],
    ) -> Callable[["MediaService", _Request, object], Awaitable[_Response]]:
        @functools.wraps(method)
        async def answer(self: "MediaService", request: _Request, context: object) -> _Response:
            started, outcome = time.perf_counter(), "broken off"
            try:
                result, outcome = await method(self, request), "ok"
            except RefusedError as why:
                result, outcome = response(success=False, message=str(why)), f"failed: {why}"
            except (sqlite3.Error, OSError):
                result, outcome = response(success=False, message="the database is away"), "failed"
                _log.exception("%s", method.__name__)
            finally:
                milliseconds = (time.perf_counter() - started) * 1000
                _log.info("%s %s: %s, %.0f ms", method.__name__, _shown(request), outcome, milliseconds)
            return result

        return answer

    return decorate


class MediaService(MediaServiceServicer):
    """Answers from a store, signs with a signer, announces to `events`. Call `aclose` once the server has stopped."""

    def __init__(
        self,
        store: MediaStore,
        events: Events,
        signer: Signer,
        *,
        latency: float = 0.05,
        expires: int = 86400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._events, self._signer = store, events, signer
        self._latency, self._expires, self._clock = latency, expires, clock
        # One thread, so that the store is never used concurrently and never blocks the loop.
        self._thread = ThreadPoolExecutor(1, "media-store")
        self._writes: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Waits for writes whose callers are gone, then for the store's thread."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    @_answers(pb.UploadFileResponse)
    async def UploadFile(self, request: pb.UploadFileRequest) -> pb.UploadFileResponse:
        """Stores a file, announces it, and answers with its row."""
        _require(bool(request.model_type), "model_type is required")
        _require(bool(request.file_name), "file_name is required")
        _require(len(request.content) <= LARGEST_UPLOAD, "content is above 50 MiB")
        request.mime_type = request.mime_type or mimetypes.guess_type(request.file_name)[0] or ""

        async def upload() -> pb.Media:
            media = await self._in_store(self._store.add, request)
            await self._events.publish("uploaded", media)
            return media

        return pb.UploadFileResponse(success=True, message="uploaded", data=self._signed(await self._write(upload())))

    @_answers(pb.GetFileByIDResponse)
    async def GetFileByID(self, request: pb.GetFileByIDRequest) -> pb.GetFileByIDResponse:
        """One file by its id."""
        media = _found(await self._in_store(self._store.by_id, request.id), f"no file with id {request.id}")
        return pb.GetFileByIDResponse(success=True, message="found", data=self._signed(media))

    @_answers(pb.GetFileByUUIDResponse)
    async def GetFileByUUID(self, request: pb.GetFileByUUIDRequest) -> pb.GetFileByUUIDResponse:
        """One file by its uuid."""
        media = _found(await self._in_store(self._store.by_uuid, request.uuid), f"no file with uuid {request.uuid!r}")
        return pb.GetFileByUUIDResponse(success=True, message="found", data=self._signed(media))

    @_answers(pb.GetFilesByModelResponse)
    async def GetFilesByModel(self, request: pb.GetFilesByModelRequest) -> pb.GetFilesByModelResponse:
        """A page of a model's files. The delay comes after the read, which is hardest for a cache in front."""
        _require(bool(request.model_type), "model_type is required")
        page, per_page = _page(request.page, request.per_page)
        found, total = await self._in_store(
            self._store.by_model, request.model_type, request.model_id, request.collection_name, page, per_page
        )
        await asyncio.sleep(self._latency)
        data = pb.GetFilesByModelData(media=map(self._signed, found), total=total, page=page, per_page=per_page)
        return pb.GetFilesByModelResponse(success=True, message="found", data=data)

    @_answers(pb.DeleteFileResponse)
    async def DeleteFile(self, request: pb.DeleteFileRequest) -> pb.DeleteFileResponse:
        """Deletes a file and announces that."""

        async def delete() -> pb.Media | None:
            media = await self._in_store(self._store.delete, request.id)
            if media:
                await self._events.publish("deleted", media)
            return media

        _found(await self._write(delete()), f"no file with id {request.id}")
        return pb.DeleteFileResponse(success=True, message="deleted")

    @_answers(pb.GetFileURLResponse)
    async def GetFileURL(self, request: pb.GetFileURLRequest) -> pb.GetFileURLResponse:
        """A URL that is valid for `expiry_seconds`; 0 means the default."""
        _require(0 <= request.expiry_seconds <= S3_LONGEST, f"expiry_seconds must be 0 to {S3_LONGEST}")
        media = _found(await self._in_store(self._store.by_id, request.id), f"no file with id {request.id}")
        expires, now = request.expiry_seconds or self._expires, self._clock()
        data = pb.GetFileURLData(url=self._signer.url(_key(media), expires, now), expires_at=int(now) + expires)
        return pb.GetFileURLResponse(success=True, message="signed", data=data)

    @_answers(pb.GetAllMediaResponse)
    async def GetAllMedia(self, request: pb.GetAllMediaRequest) -> pb.GetAllMediaResponse:
        """A page of all files; `model_type` and `collection_name` filter both the page and the total."""
        page, per_page = _page(request.page, request.per_page)
        found, total = await self._in_store(
            self._store.every, request.model_type, request.collection_name, page, per_page
        )
        data = pb.GetAllMediaData(media=map(self._signed, found), total=total, page=page, per_page=per_page)
        return pb.GetAllMediaResponse(success=True, message="found", data=data)

    async def _in_store(self, method: Callable[..., _Result], *args: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, method, *args)

    async def _write(self, work: Any) -> Any:
        """Finishes and announces a write that has begun, even if its caller goes away."""
        task = asyncio.ensure_future(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    def _signed(self, media: pb.Media) -> pb.Media:
        media.presigned_url = self._signer.url(_key(media), self._expires, self._clock())
        return media


def _key(media: pb.Media) -> str:
    """Returns the object's key in the bucket."""
    return f"{media.uuid}/{media.file_name}"


def _page(page: int, per_page: int) -> tuple[int, int]:
    """Returns the page and its size, with defaults applied."""
    _require(page >= 0, f"page {page} is negative")
    _require(0 <= per_page <= _LARGEST_PAGE, f"per_page {per_page} is not 0 to {_LARGEST_PAGE}")
    return page or 1, per_page or 20


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RefusedError(otherwise)


def _found(value: _Result | None, otherwise: str) -> _Result:
    if value is None:
        raise RefusedError(otherwise)
    return value


def _shown(request: Message) -> str:
    """Returns a request as one line, with contents replaced by their size."""
    fields = request.ListFields()
    return " ".join(
        f"{field.name}={len(value)} bytes" if isinstance(value, bytes) else f"{field.name}={value!r}"
        for field, value in fields
    )
