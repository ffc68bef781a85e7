"""`Watch`: how soon changes are visible through a deployed proxy, found by reading through it and directly.

It only reads. A change is noticed when the service's own answer changes, and has arrived once the proxy's answer names
the same files. Presigned URLs differ with each answer, so they are not compared.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub

_WITHIN = (1.0, 5.0, 60.0)
_TIMEOUT = 10.0

_Files = tuple[tuple[int, str, int], ...]


@dataclass(slots=True)
class Watch:
    """The changes of one model. Times are of the event loop's clock, in seconds."""

    through: Any
    straight: Any
    request: pb.GetFilesByModelRequest
    arrived: list[float] = field(default_factory=list)
    """How long each change took until it was visible through the proxy."""
    _files: _Files | None = None
    _changed_at: list[float] = field(default_factory=list)

    @property
    def awaited(self) -> int:
        """The number of changes that are not visible through the proxy yet."""
        return len(self._changed_at)

    async def look(self) -> None:
        """Reads from both once; raises AioRpcError if one does not answer."""
        loop = asyncio.get_running_loop()
        files = _files(await self.straight.GetFilesByModel(self.request, timeout=_TIMEOUT))
        if self._files is not None and files != self._files:
            self._changed_at.append(loop.time())
        self._files = files
        if _files(await self.through.GetFilesByModel(self.request, timeout=_TIMEOUT)) == files:
            now = loop.time()
            self.arrived += [now - at for at in self._changed_at]
            self._changed_at.clear()


def _files(response: pb.GetFilesByModelResponse) -> _Files:
    return tuple((media.id, media.uuid, media.updated_at) for media in response.data.media)


def report(watches: list[Watch]) -> str:
    """The share of all changes that arrived within 1, 5 and 60 s."""
    arrived = [seconds for watch in watches for seconds in watch.arrived]
    changes = len(arrived) + sum(watch.awaited for watch in watches)
    lines = [f"changes {changes}, not seen through the proxy in the end {changes - len(arrived)}"]
    for most in _WITHIN if changes else ():
        share = sum(seconds <= most for seconds in arrived) / changes
        lines.append(f"consistent within {most:g} s: {share:.1%}")
    return "\n".join(lines)


async def watch(through: str, straight: str, models: list[str], seconds: float, every: float) -> list[Watch]:
    """Reads each model (`user:123`) from both addresses every `every` seconds, for `seconds`."""
    loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(through) as proxy, grpc.aio.insecure_channel(straight) as service:
        stubs: tuple[Any, Any] = MediaServiceStub(proxy), MediaServiceStub(service)
        watches = [Watch(*stubs, _request(model)) for model in models]
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.gather(*(one.look() for one in watches))
            await asyncio.sleep(every)
        return watches


def _request(model: str) -> pb.GetFilesByModelRequest:
    model_type, _, model_id = model.rpartition(":")
    return pb.GetFilesByModelRequest(model_type=model_type, model_id=int(model_id), page=1, per_page=20)
