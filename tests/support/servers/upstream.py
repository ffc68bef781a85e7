"""`FakeMedia`: a fake media service that a test scripts, counts and holds; `FakeMediaServer` puts it on a port.

It is a fake because tests need to stop it between its commit and its answer. It follows the contract of `media.proto`
(`success = false` for failures, case of `model_type`, pages, URLs like S3 v4) and publishes no events.
"""

# ruff: noqa: N802 -- media.proto names the methods

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceServicer, add_MediaServiceServicer_to_server
from tests.support.servers.children import free_port
from tests.support.servers.script import Gate, SeenCall, Step

Context = grpc.aio.ServicerContext[Any, Any]
_Response = TypeVar(
    "_Response",
    pb.GetFilesByModelResponse,
    pb.UploadFileResponse,
    pb.DeleteFileResponse,
    pb.GetFileByIDResponse,
    pb.GetFileByUUIDResponse,
    pb.GetFileURLResponse,
    pb.GetAllMediaResponse,
)


@dataclass(slots=True, kw_only=True)
class FakeMedia(MediaServiceServicer):
    """Stores files in a list; each attribute may be set at any time and applies from the next call on."""

    files: list[pb.Media] = field(default_factory=list)
    calls: list[SeenCall] = field(default_factory=list)
    version: int = 0
    """Incremented by every change of `files`."""
    url_expires: int = 86400
    """Validity of a presigned URL in seconds."""
    clock: Callable[[], float] = time.time
    """When a URL is signed, in seconds since 1970."""
    unsuccessful: dict[str, str] = field(default_factory=dict)
    """Messages by method: such a method is answered as gRPC OK with `success = false`."""
    initial_metadata: tuple[tuple[str, str | bytes], ...] = ()
    trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()
    _gates: dict[tuple[str, Step], Gate] = field(default_factory=dict)
    _errors: dict[tuple[str, Step], tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    _last_id: int = 0
    _signed: int = 0

    def add(self, model_type: str, model_id: int, collection_name: str = "avatars", **more: Any) -> pb.Media:
        """Stores a file, like an upload by another caller."""
        self._last_id += 1
        self.version += 1
        now = int(self.clock())
        name = f"file-{self._last_id}.jpg"
        defaults = {
            "id": self._last_id,
            "uuid": str(uuid.UUID(int=self._last_id)),
            "name": name,
            "file_name": name,
            "mime_type": "image/jpeg",
            "disk": "s3",
            "size": 52428,
            "created_at": now,
            "updated_at": now,
        }
        named = {"model_type": model_type, "model_id": model_id, "collection_name": collection_name}
        media = pb.Media(**{**defaults, **named, **more})
        self.files.append(media)
        return media

    def remove(self, media_id: int) -> bool:
        """Deletes a file, like another caller; False if there is none."""
        kept = [media for media in self.files if media.id != media_id]
        found = len(kept) < len(self.files)
        self.version += found
        self.files[:] = kept
        return found

    def hold(self, method: str, at: Step = "request") -> Gate:
        """Holds calls of a method from now on; an earlier gate is opened."""
        self.release(method, at)
        self._gates[method, at] = gate = Gate()
        return gate

    def release(self, method: str, at: Step = "request") -> None:
        """Opens and removes the gate, if there is one."""
        gate = self._gates.pop((method, at), None)
        if gate is not None:
            gate.open()

    def fail(
        self, method: str, code: grpc.StatusCode, details: str = "broken on purpose", at: Step = "request"
    ) -> None:
        """Ends calls of a method with a status; at `answer` the change has been made nevertheless."""
        self._errors[method, at] = (code, details)

    def heal(self) -> None:
        """Removes every `fail()` and `unsuccessful`."""
        self._errors.clear()
        self.unsuccessful.clear()

    def count(self, method: str) -> int:
        """How many calls of a method have arrived."""
        return sum(call.method == method for call in self.calls)

    async def _serve(
        self, method: str, request: Message, context: Context, answer: Callable[[], _Response], failed: type[_Response]
    ) -> _Response:
        """The steps of every call: log, gate, error, `answer()` (which reads or changes `files`), gate, error."""
        pairs = tuple((key, value) for key, value in context.invocation_metadata() or ())
        call = SeenCall(method, request, pairs, context.time_remaining())
        self.calls.append(call)
        try:
            if self.initial_metadata:
                await context.send_initial_metadata(self.initial_metadata)
            context.set_trailing_metadata(self.trailing_metadata)
            await self._step(method, "request", context)
            message = self.unsuccessful.get(method)
            response = answer() if message is None else failed(success=False, message=message)
            await self._step(method, "answer", context)
        except asyncio.CancelledError:
            call.ended = "cancelled"
            raise
        except BaseException:
            call.ended = "failed"
            raise
        call.ended = "answered"
        return response

    async def _step(self, method: str, at: Step, context: Context) -> None:
        gate = self._gates.get((method, at))
        if gate is not None:
            await gate.passed()
        error = self._errors.get((method, at))
        if error is not None:
            await context.abort(*error)

    def _sign(self, media: pb.Media) -> str:
        """Returns a URL in the form of S3 signature v4; all are different, so that a test can distinguish fetches."""
        self._signed += 1
        date = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        signature = hashlib.sha256(f"{media.id} {date} {self._signed}".encode()).hexdigest()
        return (
            f"https://storage.invalid/media/{media.id}/{media.file_name}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential=FAKE%2F{date[:8]}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={date}"
            f"&X-Amz-Expires={self.url_expires}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
        )

    def _find(self, **wanted: object) -> pb.Media | None:
        [(name, value)] = wanted.items()
        return next((media for media in self.files if getattr(media, name) == value), None)

    def _page(self, files: list[pb.Media], page: int, per_page: int) -> tuple[list[pb.Media], int, int]:
        page, per_page = page or 1, per_page or 20
        return files[(page - 1) * per_page : page * per_page], page, per_page

    async def GetFilesByModel(self, request: pb.GetFilesByModelRequest, context: Context) -> pb.GetFilesByModelResponse:
        def answer() -> pb.GetFilesByModelResponse:
            if request.per_page > 100:
                return pb.GetFilesByModelResponse(success=False, message="per_page must not be above 100")
            wanted = (request.model_type.casefold(), request.model_id)
            of_model = [media for media in self.files if (media.model_type.casefold(), media.model_id) == wanted]
            found = [media for media in of_model if request.collection_name in ("", media.collection_name)]
            shown, page, per_page = self._page(found, request.page, request.per_page)
            signed = []
            for media in shown:
                copy = pb.Media()
                copy.CopyFrom(media)
                copy.presigned_url = media.presigned_url or self._sign(media)
                signed.append(copy)
            data = pb.GetFilesByModelData(media=signed, total=len(of_model), page=page, per_page=per_page)
            return pb.GetFilesByModelResponse(success=True, message="ok", data=data)

        return await self._serve("GetFilesByModel", request, context, answer, pb.GetFilesByModelResponse)

    async def UploadFile(self, request: pb.UploadFileRequest, context: Context) -> pb.UploadFileResponse:
        def answer() -> pb.UploadFileResponse:
            named = {key: getattr(request, key) for key in ("file_name", "mime_type", "name", "disk")}
            given = {key: value for key, value in named.items() if value}
            size = len(request.content)
            media = self.add(request.model_type, request.model_id, request.collection_name, size=size, **given)
            return pb.UploadFileResponse(success=True, message="ok", data=media)

        return await self._serve("UploadFile", request, context, answer, pb.UploadFileResponse)

    async def DeleteFile(self, request: pb.DeleteFileRequest, context: Context) -> pb.DeleteFileResponse:
        def answer() -> pb.DeleteFileResponse:
            media = self._find(id=request.id)
            return pb.DeleteFileResponse(success=self.remove(request.id), message=_found(media))

        return await self._serve("DeleteFile", request, context, answer, pb.DeleteFileResponse)

    async def GetFileByID(self, request: pb.GetFileByIDRequest, context: Context) -> pb.GetFileByIDResponse:
        def answer() -> pb.GetFileByIDResponse:
            media = self._find(id=request.id)
            return pb.GetFileByIDResponse(success=media is not None, message=_found(media), data=media)

        return await self._serve("GetFileByID", request, context, answer, pb.GetFileByIDResponse)

    async def GetFileByUUID(self, request: pb.GetFileByUUIDRequest, context: Context) -> pb.GetFileByUUIDResponse:
        def answer() -> pb.GetFileByUUIDResponse:
            media = self._find(uuid=request.uuid)
            return pb.GetFileByUUIDResponse(success=media is not None, message=_found(media), data=media)

        return await self._serve("GetFileByUUID", request, context, answer, pb.GetFileByUUIDResponse)

    async def GetFileURL(self, request: pb.GetFileURLRequest, context: Context) -> pb.GetFileURLResponse:
        def answer() -> pb.GetFileURLResponse:
            media = self._find(id=request.id)
            if media is None:
                return pb.GetFileURLResponse(success=False, message=_found(media))
            data = pb.GetFileURLData(url=self._sign(media), expires_at=int(self.clock()) + self.url_expires)
            return pb.GetFileURLResponse(success=True, message="ok", data=data)

        return await self._serve("GetFileURL", request, context, answer, pb.GetFileURLResponse)

    async def GetAllMedia(self, request: pb.GetAllMediaRequest, context: Context) -> pb.GetAllMediaResponse:
        def answer() -> pb.GetAllMediaResponse:
            shown, page, per_page = self._page(self.files, request.page, request.per_page)
            data = pb.GetAllMediaData(media=shown, total=len(self.files), page=page, per_page=per_page)
            return pb.GetAllMediaResponse(success=True, message="ok", data=data)

        return await self._serve("GetAllMedia", request, context, answer, pb.GetAllMediaResponse)


def _found(media: pb.Media | None) -> str:
    return "not found" if media is None else "ok"


class FakeMediaServer:
    """A `FakeMedia` on a free port; after `stop()` that port refuses until `start()`."""

    def __init__(self, media: FakeMedia | None = None, credentials: grpc.ServerCredentials | None = None) -> None:
        self.media = media or FakeMedia()
        self._credentials = credentials
        self.port = free_port()
        self._server: grpc.aio.Server | None = None

    @property
    def addr(self) -> str:
        """The value for MEDIA_SERVICE_ADDR."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> Self:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.aio.server(options=[*unlimited, ("grpc.so_reuseport", 0)])
        add_MediaServiceServicer_to_server(self.media, self._server)
        if self._credentials is None:
            self._server.add_insecure_port(self.addr)
        else:
            self._server.add_secure_port(self.addr, self._credentials)
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Ends every call (UNAVAILABLE for its caller) and refuses new ones."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
