"""The well-behaved caller, as a process of its own: `python -m tests.abuse.caller PORT`.

It makes one call after the other until it is killed, and writes a line for each: when the call began (CLOCK_MONOTONIC,
which all processes share), how many seconds it took, and how it ended (`hit`, `miss`, `forwarded`, `WRONG` for another
model's answer, or the error).
"""

import asyncio
import itertools
import sys
import time

import grpc.aio

from proxy.pb import media_pb2 as pb
from tests.abuse.upstream import named

_FILES = "/media.MediaService/GetFilesByModel"
_FORWARDED = "/media.MediaService/GetFileURL"
_TIMEOUT = 20.0
_PAUSE = 0.004


def request(model_id: int) -> bytes:
    """GetFilesByModel as the gateway asks for an avatar."""
    asked = pb.GetFilesByModelRequest(
        model_type="User", model_id=model_id, collection_name="avatars", page=1, per_page=1
    )
    return asked.SerializeToString()


async def main(port: int) -> None:
    """Of ten calls, eight can be hits, one is a miss, and one is forwarded."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for number in itertools.count():
            kind = number % 10
            begun = time.monotonic()
            path = _FORWARDED if kind == 9 else _FILES
            model_id = 1_000_000 + number if kind == 8 else kind
            outcome = await _outcome(channel, path, model_id)
            print(begun, time.monotonic() - begun, outcome, flush=True)  # noqa: T201 -- its output is its result
            await asyncio.sleep(_PAUSE)


async def _outcome(channel: grpc.aio.Channel, path: str, model_id: int) -> str:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    call = method(request(model_id), timeout=_TIMEOUT)
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}:{error.details()}".replace(" ", "_")
    if path == _FILES and named("User", model_id, "avatars").encode() not in answer:
        return "WRONG"
    trailing = dict(await call.trailing_metadata() or ())
    return str(trailing.get("x-cache", "forwarded"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
