"""The three methods of MediaService that the proxy answers itself: one read, two writes.

GetFilesByModel goes through the cache. UploadFile and DeleteFile go upstream as `OwnWrites`; here is found out which
model they change.
"""

import logging
import time
from typing import Literal, Protocol, get_args

from google.protobuf.message import DecodeError

from proxy.caching.cache import Cache
from proxy.caching.fetches import Answer, Result
from proxy.caching.outcome import Outcome, outcome
from proxy.caching.own_writes import OwnWrites, Write
from proxy.caching.shadow import same_files
from proxy.errors import RedisUnavailableError
from proxy.media import wire
from proxy.media.calls import Call, Handler, Metadata, Reply
from proxy.media.model import Model
from proxy.pb.media_pb2 import GetFileByIDRequest, GetFileByIDResponse, GetFilesByModelRequest
from proxy.store.redis_node import Budget
from proxy.telemetry import tracing
from proxy.telemetry.log import RateLimit

log = logging.getLogger(__name__)

GET_FILES_BY_MODEL = "/media.MediaService/GetFilesByModel"
UPLOAD_FILE = "/media.MediaService/UploadFile"
DELETE_FILE = "/media.MediaService/DeleteFile"
_GET_FILE_BY_ID = "/media.MediaService/GetFileByID"

_X_CACHE: dict[Result, tuple[str, str]] = {result: ("x-cache", result) for result in get_args(Result)}


class Index(Protocol):
    """Which model a file belongs to, as far as fills have seen it; see `RedisStore`."""

    async def model_of(self, media_id: int, budget: Budget) -> Model | None: ...


class Observer(Protocol):
    """Who counts."""

    def request(self, method: str, result: Outcome, tier: Literal["redis", "none"], seconds: float) -> None: ...
    def answered(self, *, successful: bool) -> None: ...
    def shadow_difference(self) -> None: ...


class Files:
    """Handlers for the routes of the listener."""

    def __init__(
        self, cache: Cache, own_writes: OwnWrites, fetch: Handler, index: Index | None, observer: Observer
    ) -> None:
        self._cache = cache
        self._own_writes = own_writes
        self._fetch = fetch
        self._index = index
        self._observer = observer
        self._differences = RateLimit()

    async def get_files_by_model(self, call: Call) -> Reply:
        """Answers with trailing metadata `x-cache`, and `age` when the answer came out of the cache."""
        started, shadow = time.perf_counter(), self._cache.policy.mode == "shadow"
        answer = await (self._shadow(call) if shadow else self._cache.get(call))
        tier: Literal["redis", "none"] = "none" if answer.age is None else "redis"
        counted = outcome(answer)
        self._observer.request(call.method, counted, tier, time.perf_counter() - started)
        if answer.age is None and answer.reply.ok and answer.result != "coalesced":
            self._observer.answered(successful=counted != "failure")
        tracing.answered(answer.result, None if tier == "none" else tier)
        ours: Metadata = (_X_CACHE[answer.result],)
        if answer.age is not None:
            ours = (*ours, ("age", str(answer.age)))
        reply = answer.reply
        # (`dataclasses.replace` takes ten times as long.)
        trailing = (*reply.trailing_metadata, *ours) if reply.trailing_metadata else ours
        return Reply(reply.body, reply.code, reply.details, reply.initial_metadata, trailing)

    async def upload_file(self, call: Call) -> Reply:
        """Forwards; the model is named by the request."""
        try:
            found = wire.fields(call.body, numbers={6}, texts={5, 7})
            model, collection = Model.of(found.text(5), found.number(6)), found.text(7)
        except ValueError:
            return await self._own_writes.carry_out(Write(call, None, unreadable=True))
        tracing.about(model.type)
        return await self._own_writes.carry_out(Write(call, model, collection))

    async def delete_file(self, call: Call) -> Reply:
        """Forwards; the request names only an id, so its model is looked up first, while it still exists."""
        if self._index is None:
            return await self._fetch(call)  # no Redis: nothing to invalidate, so nothing to find out
        try:
            media_id = wire.fields(call.body, numbers={1}).number(1)
        except ValueError:
            return await self._own_writes.carry_out(Write(call, None, unreadable=True))
        write = await self._owner_of(call, media_id)
        if write.model is not None:
            tracing.about(write.model.type)
        return await self._own_writes.carry_out(write)

    async def _owner_of(self, call: Call, media_id: int) -> Write:
        """Whose file this is: by the id index, else upstream's GetFileByID on behalf of this caller."""
        budget = Budget()
        model = None if self._index is None else await self._indexed(self._index, media_id, budget)
        if model is not None:
            return Write(call, model, budget=budget)
        request = GetFileByIDRequest(id=media_id).SerializeToString()
        reply = await self._fetch(Call(_GET_FILE_BY_ID, request, call.metadata, call.deadline))
        response = GetFileByIDResponse()
        try:
            response.ParseFromString(reply.body or b"")
        except DecodeError:
            return Write(call, None, budget=budget)
        if not response.data.model_type:
            return Write(call, None, budget=budget)
        model = Model.of(response.data.model_type, response.data.model_id)
        return Write(call, model, response.data.collection_name, budget)

    @staticmethod
    async def _indexed(index: Index, media_id: int, budget: Budget) -> Model | None:
        try:
            return await index.model_of(media_id, budget)
        except RedisUnavailableError:
            return None

    async def _shadow(self, call: Call) -> Answer:
        """Upstream always answers; the cache is kept as if it were on, and its would-be hits are compared."""
        found = await self._cache.look_up(call)
        if found is None:
            return Answer(await self._cache.keep(call), "bypass")
        reply = await self._fetch(call)
        if reply.ok and not same_files(found.entry.body, reply.body or b""):
            # Only what a later read would still have been served counts: an invalidation under way explains the rest.
            again = await self._cache.look_up(call)
            if again is not None and again.entry == found.entry:
                self._observer.shadow_difference()
                self._log_difference(call, found.age)
        return Answer(reply, "bypass")

    def _log_difference(self, call: Call, age: int) -> None:
        """A sample: one a minute for each type of model, with how many were not shown."""
        request = GetFilesByModelRequest.FromString(call.body)  # it was understood when its key was made
        model = Model.of(request.model_type, request.model_id)
        kept_back = self._differences.admit(model.type)
        if kept_back is None:
            return
        fields = {"model_type": model.type, "model_id": model.id, "collection": request.collection_name, "age": age}
        fields |= {"suppressed": kept_back} if kept_back else {}
        log.info("a hit would have differed from upstream's answer", extra=fields)
