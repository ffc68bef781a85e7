"""`Origin`: a schedule's media service, in this process: stamps its answers, holds calls where it is told to."""

import asyncio

from proxy.calls.call import Call, Reply
from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from tests.consistency.checker import Asked, Checker, failure, stamped
from tests.support.media_methods import UPLOAD_FILE


class Origin:
    """The media service. `gated`: a read is held after it read its version, a write before and after its commit."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.gated = False
        self.failing = False
        self.held: list[asyncio.Future[None]] = []
        self._fetches = 0

    def release(self, which: int = 0) -> None:
        """Lets one go on of those that are held, if there are any."""
        if self.held:
            self.held.pop(which % len(self.held)).set_result(None)

    def open(self) -> None:
        """Lets all go on, and all that come."""
        self.gated = False
        while self.held:
            self.release()

    async def answer(self, call: Call) -> Reply:
        """Both methods that schedules use."""
        if call.method == UPLOAD_FILE:
            return await self._upload(call)
        asked = _asked(call)
        self._fetches += 1
        number = self._fetches
        version, failing = self._checker.version(asked.model), self.failing
        if failing:
            self._checker.fails(number)
        await self._pass()
        if failing:
            self._checker.failed(number)
        return Reply((failure(number) if failing else stamped(asked, version)).SerializeToString())

    async def _upload(self, call: Call) -> Reply:
        request = pb.UploadFileRequest.FromString(call.body)
        await self._pass()
        self._checker.commit(Model.of(request.model_type, request.model_id))
        await self._pass()
        return Reply(pb.UploadFileResponse(success=True).SerializeToString())

    async def _pass(self) -> None:
        if self.gated:
            gate = asyncio.get_running_loop().create_future()
            self.held.append(gate)
            try:
                await gate
            finally:
                if gate in self.held:
                    self.held.remove(gate)


def _asked(call: Call) -> Asked:
    request = pb.GetFilesByModelRequest.FromString(call.body)
    caller = "".join(str(value) for key, value in call.metadata if key == "authorization")
    return Asked(request.model_id, request.model_type, request.collection_name, request.page, caller)
