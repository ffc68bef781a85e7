"""The baseline: a cache-aside proxy that one could write in an afternoon. `python -m bench.naive PORT REDIS UPSTREAM`.

It has a generated servicer, entries as JSON under readable keys, and redis-py's client as in its manual. It handles no
leases, invalidations, deadlines or failures of Redis.
"""

import asyncio
import json
import sys
from typing import Any

import grpc.aio
from google.protobuf import json_format
from redis.asyncio import Redis

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceServicer, MediaServiceStub, add_MediaServiceServicer_to_server


class _CacheAside(MediaServiceServicer):
    def __init__(self, redis: Redis, channel: grpc.aio.Channel) -> None:
        self._redis = redis
        self._upstream = MediaServiceStub(channel)

    async def GetFilesByModel(  # noqa: N802 -- media.proto names it
        self, request: pb.GetFilesByModelRequest, _: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.GetFilesByModelResponse:
        place = f"{request.model_type}:{request.model_id}:{request.collection_name}"
        key = f"naive:{place}:{request.page}:{request.per_page}"
        stored = await self._redis.get(key)
        if stored is not None:
            return json_format.ParseDict(json.loads(stored), pb.GetFilesByModelResponse())
        response: pb.GetFilesByModelResponse = await self._upstream.GetFilesByModel(request)
        await self._redis.set(key, json.dumps(json_format.MessageToDict(response)), ex=3600)
        return response


async def _serve(port: str, redis: str, upstream: str) -> None:
    async with Redis.from_url(f"redis://{redis}") as client, grpc.aio.insecure_channel(upstream) as channel:
        server = grpc.aio.server()
        servicer = _CacheAside(client, channel)  # type: ignore[abstract] # the rest is UNIMPLEMENTED
        add_MediaServiceServicer_to_server(servicer, server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:4]))
