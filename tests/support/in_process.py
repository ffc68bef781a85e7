"""`Stack`: cores of several proxies ("processes") in this process, on one real Redis, with one `FakeMedia` upstream."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import grpc
import pytest
from redis.asyncio import Redis

from proxy.calls.call import Call, Metadata, Reply
from proxy.core import Core
from proxy.pb import media_pb2 as pb
from proxy.policy.builtin.model import Model
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_node import Budget
from proxy.store.redis_reads import Found
from proxy.telemetry.metrics import Metrics
from tests.support.media_methods import DELETE_FILE, GET_FILES_BY_MODEL, UPLOAD_FILE
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMedia, FakeMediaServer
from tests.support.servers.waiting import until

READ = "GetFilesByModel"
UPLOAD = "UploadFile"
DELETE = "DeleteFile"
USER = Model.of("user", 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of GetFilesByModel for its caller."""

    reply: Reply

    @property
    def code(self) -> grpc.StatusCode:
        return self.reply.code

    @property
    def response(self) -> pb.GetFilesByModelResponse:
        return pb.GetFilesByModelResponse.FromString(self.reply.body or b"")

    @property
    def ids(self) -> list[int]:
        return [media.id for media in self.response.data.media]

    @property
    def x_cache(self) -> str:
        [value] = [value for key, value in self.reply.trailing_metadata if key == "x-cache"]
        return str(value)

    @property
    def age(self) -> int | None:
        ages = [int(value) for key, value in self.reply.trailing_metadata if key == "age"]
        return ages[0] if ages else None


def read_call(
    model_type: str = "User",
    model_id: int = 1,
    collection: str = "avatars",
    *,
    page: int = 1,
    per_page: int = 10,
    metadata: Metadata = (),
    deadline: float | None = None,
) -> Call:
    """A GetFilesByModel call; `deadline` in seconds from now."""
    request = pb.GetFilesByModelRequest(
        model_type=model_type, model_id=model_id, collection_name=collection, page=page, per_page=per_page
    )
    return Call(GET_FILES_BY_MODEL, request.SerializeToString(), metadata, at(deadline))


def at(seconds: float | None) -> float | None:
    """A deadline this many seconds from now."""
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


class Process:
    """The caching core of one proxy, running."""

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self.core = core
        self.metrics = metrics

    async def read(self, *args: Any, **named: Any) -> Seen:
        """One GetFilesByModel call; parameters as of `read_call`."""
        return Seen(await self.core.methods.read(read_call(*args, **named)))

    def reading(self, *args: Any, **named: Any) -> "asyncio.Task[Seen]":
        """A GetFilesByModel call in progress."""
        return asyncio.create_task(self.read(*args, **named))

    async def x_cache(self, *args: Any, **named: Any) -> str:
        """The `x-cache` of one call's answer."""
        return (await self.read(*args, **named)).x_cache

    async def found(self, *args: Any, **named: Any) -> Found | None:
        """The fresh entry with which a call would be answered."""
        return await self.core.cache.look_up(read_call(*args, **named))

    async def stored(self, *args: Any, **named: Any) -> Found | None:
        """The entry of a call, also if it has expired."""
        key, _ = self.core.cache._key_of(read_call(*args, **named))
        assert key is not None
        assert self.core.store is not None
        return await self.core.store.read(key, Budget())

    async def upload(self, model_type: str = "User", model_id: int = 1, *, deadline: float | None = None) -> Reply:
        """One UploadFile call to the collection `avatars`."""
        request = pb.UploadFileRequest(
            content=b"pixels", file_name="a.jpg", model_type=model_type, model_id=model_id, collection_name="avatars"
        )
        return await self.core.methods.write(Call(UPLOAD_FILE, request.SerializeToString(), (), at(deadline)))

    async def delete(self, media_id: int, *, metadata: Metadata = (), deadline: float | None = None) -> Reply:
        """One DeleteFile call."""
        body = pb.DeleteFileRequest(id=media_id).SerializeToString()
        return await self.core.methods.write(Call(DELETE_FILE, body, metadata, at(deadline)))

    async def event(self, model: Model = USER) -> None:
        """As the consumer calls it when an event came."""
        await self.core.invalidations.invalidate(model, source="event", about=model.described("avatars"))

    @property
    def flights(self) -> int:
        """The number of fetches for the cache in progress."""
        return len(self.core.cache._fetches)

    async def all_waiting(self, count: int) -> None:
        """Waits until this many calls wait for fetches of this process."""
        by_token = self.core.cache._fetches._flights._by_token
        await until(
            lambda: sum(flight._waiters for flight in set(by_token.values())) == count,
            f"{count} calls to wait for a fetch",
        )

    def usable(self) -> bool:
        """Whether Redis is connected and used for reads."""
        return self.core.store is None or self.core.store.usable(b"any key")

    def metric(self, name: str, **labels: str) -> float:
        """One sample; 0 if it does not exist."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Stack:
    """Starts processes that share an upstream, and ends them.

    Redis may take as long as a loaded machine needs, unless the test is about its failures (`hurried`).
    """

    def __init__(self, redis_addr: str, *, hurried: bool = False) -> None:
        self._redis_addr = redis_addr
        self._exits = AsyncExitStack()
        self._hurried = hurried
        self.upstream = FakeMediaServer()

    @property
    def media(self) -> FakeMedia:
        return self.upstream.media

    @property
    def fetches(self) -> int:
        """The number of GetFilesByModel calls that upstream has seen."""
        return self.media.count(READ)

    async def process(self, *, ready: bool = True, redis_addr: str | None = None, **settings: Any) -> Process:
        """Starts one more; with `ready`, returns once it is connected to Redis."""
        addr = self._redis_addr if redis_addr is None else redis_addr
        given = Settings(media_service_addr=self.upstream.addr, redis_addr=RedisAddr().parse(addr), **settings)
        metrics = Metrics()
        core = Core.build(given, metrics)
        process = Process(core, metrics)
        self._exits.push_async_callback(_stop, core, asyncio.create_task(core.run()))
        if ready:
            await until(process.usable, "Redis to be usable")
        return process

    async def now_ms(self) -> float:
        """Redis' clock; the precision with which a process knows it depends on its pings."""
        async with Redis.from_url(f"redis://{self._redis_addr}") as client:
            seconds, micros = await client.time()
        return float(seconds) * 1000 + float(micros) / 1000

    async def __aenter__(self) -> Self:
        if not self._hurried:
            patch = self._exits.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(Budget.__init__, "__defaults__", (30.0,))
            patch.setattr("proxy.store.redis_reads.FIRST_SHARE", 30.0)
            patch.setattr("proxy.store.breaker.SLOW", 30.0)
            patch.setattr("proxy.store.redis_link.CONNECT_TIMEOUT", 30.0)
            patch.setattr("proxy.store.redis_pings._DEAD_AFTER", 30.0)
            patch.setattr("proxy.store.redis_health._QUARANTINE", 0.0)
        await self._exits.enter_async_context(self.upstream)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._exits.aclose()


async def _stop(core: Core, running: "asyncio.Task[None]") -> None:
    await core.close()
    running.cancel()
    await asyncio.wait([running])
    if not running.cancelled():
        running.result()  # it must run until it is cancelled


async def no_lease_left(redis: RedisServer) -> None:
    """Waits until every lease was used or given back."""

    async def none() -> bool:
        keys = await redis.cli("KEYS", "media:model:*")
        return not [name for key in keys for name in await redis.cli("HKEYS", key) if name.startswith(b"l")]

    await until(none, "leases to be given back", timeout=5)


async def intents(redis: RedisServer) -> list[bytes]:
    """The fields of the write intents that stand in Redis, of all models."""
    keys = await redis.cli("KEYS", "media:model:*")
    return [name for key in keys for name in await redis.cli("HKEYS", key) if name.startswith(b"w")]
