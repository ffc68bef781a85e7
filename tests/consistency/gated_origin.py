"""`Origin`: a schedule's service in this process, which stamps its answers and can hold calls."""

import asyncio

from proxy.calls.call import Call, Reply
from proxy.pb import media_pb2 as pb
from tests.consistency.checker import Checker
from tests.consistency.scenes import Scene


class Origin:
    """The service. If it is `gated`, a read is held after it read its version, a write before and after its commit."""

    def __init__(self, checker: Checker, scene: Scene) -> None:
        self._checker, self._scene = checker, scene
        self.gated = False
        self.failing = False
        self.held: list[asyncio.Future[None]] = []
        self._fetches = 0

    def release(self, which: int = 0) -> None:
        """Lets one of the held calls continue, if there are any."""
        if self.held:
            self.held.pop(which % len(self.held)).set_result(None)

    def open(self) -> None:
        """Lets all held calls continue, and holds no further ones."""
        self.gated = False
        while self.held:
            self.release()

    async def answer(self, call: Call) -> Reply:
        """Answers any call of a schedule."""
        subject = self._scene.written(call)
        if subject is not None:
            return await self._write(subject)
        questions = self._scene.questions(call)
        self._fetches += 1
        number = self._fetches
        versions, failing = [self._checker.version(each.model) for each in questions], self.failing
        if failing:
            self._checker.fails(number)
        await self._pass()
        if failing:
            self._checker.failed(number)
            return Reply(self._scene.failure(questions, number))
        return Reply(self._scene.stamped(questions, versions))

    async def _write(self, subject: str) -> Reply:
        await self._pass()
        self._checker.commit(subject)
        await self._pass()
        # `success` is the first field of every answer to a write.
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
