"""`MediaCacheService`: the cache as a Python library, inside an application's process.

It shares Redis with the sidecars of the same `CACHE_NAMESPACE`: entries stored by one of them are hits here, and the
events that they consume invalidate entries for all. It consumes no events itself, so without a sidecar an answer may
be as old as `CACHE_TTL` permits.

    settings = Settings(media_service_addr="media:50056", redis_addr=RedisAddr().parse("redis:6379"))
    async with MediaCacheService.open(settings) as media:
        avatar = await media.get_user_avatar(123)
        images = await media.get_model_media("Product", 7, "images")
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from google.protobuf.message import DecodeError
from grpc import StatusCode

from proxy import __version__
from proxy.calls.call import Call, Metadata
from proxy.core import Core
from proxy.pb.media_pb2 import GetFilesByModelRequest, GetFilesByModelResponse, Media
from proxy.policy.builtin.methods import GET_FILES_BY_MODEL
from proxy.policy.builtin.model import Model
from proxy.settings.config import Settings
from proxy.telemetry import span_names, tracing
from proxy.telemetry.metrics import Metrics

_LARGEST_PAGE = 100
"""Largest per_page that the media service accepts."""
_SETTLING = 0.5
_READINGS = 3
"""Maximum number of times that a list is read because the model has changed between two of its pages."""


class MediaCacheError(Exception):
    """A read or an invalidation failed: `status` is the gRPC status, `message` is one line.

    The status OK means that the media service answered with `success = false`.
    """

    def __init__(self, status: StatusCode, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


class MediaCacheService:
    """Cached reads of MediaService, and manual invalidation. Any number of tasks of one event loop may use it at once.

    Every method ends within `timeout` seconds (None: no limit), and raises MediaCacheError when it fails.
    """

    def __init__(
        self,
        core: Core,
        settings: Settings,
        *,
        avatar_collection: str = "avatars",
        timeout: float | None = 60.0,
        metadata: Metadata = (),
    ) -> None:
        """Uses a core that the caller has built from the same settings, runs and closes. `open` makes one itself.

        `metadata` is sent with every read, for example `(("authorization", "Bearer …"),)`.
        """
        self._core = core
        self._avatars = avatar_collection
        self._timeout = timeout
        self._metadata = metadata
        largest = settings.cache_bypass_per_page
        self._per_page = largest - 1 if 1 < largest <= _LARGEST_PAGE else _LARGEST_PAGE

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        avatar_collection: str = "avatars",
        timeout: float | None = 60.0,
        metadata: Metadata = (),
    ) -> AsyncIterator[Self]:
        """A service with a core of its own. Waits at most half a second for Redis; later it connects in the background.

        If the application uses OpenTelemetry, reads and invalidations are spans below the application's own.
        """
        with tracing.of_application(__version__):
            core = Core.build(settings, Metrics())
            running = asyncio.create_task(core.run(), name="media cache")
            try:
                if core.redis is not None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_SETTLING):
                            await core.redis.first_heard()
                yield cls(core, settings, avatar_collection=avatar_collection, timeout=timeout, metadata=metadata)
            finally:
                await core.close()
                running.cancel()
                await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def get_user_avatar(self, user_id: int | str) -> Media | None:
        """The first file of the user's avatar collection, with a presigned URL; None if the collection is empty."""
        request = GetFilesByModelRequest(
            model_type="user", model_id=_model("user", user_id).id, collection_name=self._avatars, page=1, per_page=1
        )
        response = await self._read(request, self._deadline())
        return next(iter(response.data.media), None)

    async def get_model_media(self, model_type: str, model_id: int | str, collection_name: str = "") -> list[Media]:
        """All files of a collection ("": of all collections), in the media service's order, from as many pages as
        needed.
        """
        request = GetFilesByModelRequest(
            model_type=model_type,
            model_id=_model(model_type, model_id).id,
            collection_name=collection_name,
            per_page=self._per_page,
        )
        deadline = self._deadline()
        files: list[Media] = []
        for _ in range(_READINGS):
            files, changed = await self._all_pages(request, deadline)
            if not changed:
                break
        return files

    async def invalidate_user_avatar(self, user_id: int | str) -> None:
        """Removes everything cached for the user in Redis, and so for every process. Returns once Redis has confirmed.

        DEADLINE_EXCEEDED: Redis has not confirmed it. It is retried until Redis does, and until then this process
        reads this user's media without the cache.
        """
        await self.invalidate_model_media("user", user_id, self._avatars)

    async def invalidate_model_media(self, model_type: str, model_id: int | str, collection_name: str = "") -> None:
        """Does for any model what `invalidate_user_avatar` does for a user. It always concerns the whole model; the
        collection only appears in the log.
        """
        model = _model(model_type, model_id)
        with tracing.application_span(span_names.INVALIDATE):
            tracing.about(model.type)
            try:
                async with asyncio.timeout(self._timeout):
                    about = model.described(collection_name)
                    await self._core.invalidations.invalidate_all(model.all, source="admin", about=about)
            except TimeoutError:
                raise MediaCacheError(
                    StatusCode.DEADLINE_EXCEEDED, f"Redis has not confirmed the invalidation of {model} yet; it is kept"
                ) from None

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    async def _all_pages(self, request: GetFilesByModelRequest, deadline: float | None) -> tuple[list[Media], bool]:
        """The files of all pages, without duplicates, and whether the model has changed between two pages."""
        files: dict[int, Media] = {}
        totals: set[int] = set()
        request.page = 0
        while True:
            request.page += 1
            before = len(files)
            data = (await self._read(request, deadline)).data
            files |= {media.id: media for media in data.media}
            totals.add(data.total)
            if len(data.media) < request.per_page or len(files) == before:
                return list(files.values()), len(totals) > 1

    async def _read(self, request: GetFilesByModelRequest, deadline: float | None) -> GetFilesByModelResponse:
        with tracing.application_span(span_names.READ):
            return await self._answer(request, deadline)

    async def _answer(self, request: GetFilesByModelRequest, deadline: float | None) -> GetFilesByModelResponse:
        call = Call(GET_FILES_BY_MODEL, request.SerializeToString(), self._metadata, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._core.methods.read(call)
        except TimeoutError:
            raise MediaCacheError(StatusCode.DEADLINE_EXCEEDED, f"no answer within {self._timeout:g} s") from None
        if not reply.ok or reply.body is None:
            raise MediaCacheError(reply.code, " ".join(reply.details.split()))
        try:
            response = GetFilesByModelResponse.FromString(reply.body)
        except DecodeError:
            raise MediaCacheError(StatusCode.INTERNAL, "the media service sent no GetFilesByModelResponse") from None
        if not response.success:
            raise MediaCacheError(StatusCode.OK, " ".join(response.message.split()))
        return response


def _model(model_type: str, model_id: int | str) -> Model:
    try:
        return Model.of(model_type, int(model_id))
    except ValueError:
        raise MediaCacheError(StatusCode.INVALID_ARGUMENT, f"model id {model_id!r} is not an int64") from None
