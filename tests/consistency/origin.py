"""`StampedMedia`: a run's media service on a port, which stamps answers, commits uploads and reports each commit."""

# ruff: noqa: N802 -- media.proto names the methods

import asyncio
import random
from collections.abc import Callable
from typing import Literal

import grpc

from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.consistency.checker import Asked, Checker, failure, stamped
from tests.support.servers.upstream import Context, FakeMedia

Failing = Literal["", "status", "unsuccessful"]


class StampedMedia(FakeMedia):
    """`committed` is called for every commit, with the model, its new version, and the writer's name for the write."""

    def __init__(self, checker: Checker, random: random.Random, committed: Callable[[str, int, str], None]) -> None:
        super().__init__()
        self._checker = checker
        self._random = random
        self._committed = committed
        self._fetches = 0
        self.failing: Failing = ""

    def commit(self, model: Model, name: str) -> None:
        """Commits a write, through this service or another one."""
        self._committed(model, self._checker.commit(model), name)

    async def GetFilesByModel(self, request: pb.GetFilesByModelRequest, context: Context) -> pb.GetFilesByModelResponse:
        """Reads its version first and answers later, so that a commit can overtake it."""
        caller = "".join(str(value) for key, value in context.invocation_metadata() or () if key == "authorization")
        asked = Asked(request.model_id, request.model_type, request.collection_name, request.page, caller)
        if self.failing == "unsuccessful":
            self._fetches += 1
            number = self._fetches
            self._checker.fails(number)
            await self._pass()
            self._checker.failed(number)
            return failure(number)
        version = self._checker.version(asked.model)
        await self._fail(context)
        await self._pass()
        return stamped(asked, version)

    async def UploadFile(self, request: pb.UploadFileRequest, context: Context) -> pb.UploadFileResponse:
        """Commits in the middle of the call; sometimes it fails before that, sometimes after."""
        if self._random.random() < 0.5:
            await self._fail(context)
        await self._pass()
        self.commit(Model.of(request.model_type, request.model_id), request.collection_name)
        await self._fail(context)
        await self._pass()
        return pb.UploadFileResponse(success=True)

    async def _pass(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / 0.005))

    async def _fail(self, context: Context) -> None:
        if self.failing == "status":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
