"""Secrets stay where they belong: canaries are put into everything that is secret, everything is broken that can be,
and then nothing that the proxy says of itself holds one of them.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

import aio_pika
import grpc.aio
import pytest
from grpc import StatusCode

from proxy.pb import media_pb2 as pb
from tests.admin.test_commands import run
from tests.support.raw_http2 import call as http2_call
from tests.support.raw_upstream import Context, RawUpstream, Seen, requests
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.streams import StreamServer
from tests.support.servers.waiting import until

READ = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
OTHER = "/another.Service/Method"
REQUEST = pb.GetFilesByModelRequest(
    model_type="User", model_id=1, collection_name="avatars", page=1, per_page=1
).SerializeToString()


@dataclass
class Canaries:
    """A secret for each place; `of(place)` makes it."""

    made: dict[str, str] = field(default_factory=dict)

    def of(self, place: str) -> str:
        return self.made.setdefault(place, f"c4n4ry{len(self.made):02}" + "Zq7" * 6)

    def found_in(self, where: str, text: str, *, but: tuple[str, ...] = ()) -> list[str]:
        """Which are there, plain or in base64, in one line each."""
        return [
            f"{place} in {where}: …{text[max(0, at - 150) : at + 40]}…"
            for place, secret in self.made.items()
            if place not in but
            for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="))
            if (at := text.find(form)) >= 0
        ]


@dataclass
class Stage:
    """The proxy and what it talks to; every secret of theirs is a canary."""

    canaries: Canaries
    proxy: ProxyProcess
    redis: RedisServer
    rabbit: RabbitServer
    upstream: RawUpstream
    collector: Collector
    amqp: str
    """For publishing, as guest."""
    told: list[str] = field(default_factory=list)
    """Status details that callers got, and documents that were read."""

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        of = self.canaries.of
        return (
            ("authorization", f"Bearer {of('authorization metadata')}"),
            ("x-session", of("other metadata")),
            ("x-blob-bin", of("binary metadata").encode()),
            ("traceparent", of("a traceparent that is none")),
            ("baggage", f"user={of('baggage')}"),
        )

    async def call(self, method: str, body: bytes, *more: tuple[str, str]) -> bytes | None:
        """One call; None: it failed, and its details are noted."""
        async with grpc.aio.insecure_channel(self.proxy.addr) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            try:
                return await call(body, metadata=(*self.metadata(), *more), timeout=30)
            except grpc.aio.AioRpcError as error:
                self.told.append(f"{error.code()}: {error.details()}")
                return None

    async def look_around(self) -> None:
        """Reads all that the proxy tells on HTTP; as a stranger too."""
        for path in ("/healthz", "/readyz", "/metrics"):
            self.told.append((await self.proxy.probe(path))[1])
        bearer = quote(f"authorization: Bearer {self.canaries.of('authorization metadata')}")
        asked = f"model_type=user&model_id=1&collection=avatars&metadata={bearer}"
        for token in (self.canaries.of("ADMIN_TOKEN"), self.canaries.of("an admin token that is wrong")):
            for path in ("/", "/stats", "/config", "/lookup?model_type=user&model_id=1", f"/explain?{asked}", "/x"):
                self.told.append(await self.admin(path, token))

    async def admin(self, path: str, token: str) -> str:
        """The answer to GET, head and all."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.admin_port)
        host = f"Host: 127.0.0.1:{self.proxy.admin_port}"
        head = (f"GET {path} HTTP/1.1", host, f"Authorization: Bearer {token}", "Connection: close", "", "")
        writer.write("\r\n".join(head).encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer

    async def publish(self, body: bytes) -> None:
        """An event with secrets in its headers too."""
        connection = await aio_pika.connect(self.amqp)
        async with connection:
            exchange = await (await connection.channel()).get_exchange("damar.events")
            headers = {"traceparent": self.canaries.of("an event's header")}
            await exchange.publish(aio_pika.Message(body, headers=dict(headers)), "media.event.uploaded")


@pytest.fixture
async def stage(own_redis: RedisServer, rabbit: RabbitServer) -> AsyncIterator[Stage]:
    canaries = Canaries()
    user, password = canaries.of("RABBITMQ_ADDR's user"), canaries.of("RABBITMQ_ADDR's password")
    amqp = await rabbit.vhost()
    vhost = amqp.rpartition("/")[2]
    await _user(rabbit, user, password, vhost)
    redis_password = canaries.of("REDIS_ADDR's password")
    await own_redis.cli("CONFIG", "SET", "requirepass", redis_password)
    async with Collector() as collector, RawUpstream() as upstream:
        settings = {
            "REDIS_ADDR": f"redis://:{quote(redis_password)}@127.0.0.1:{own_redis.port}",
            "RABBITMQ_ADDR": f"amqp://{user}:{password}@127.0.0.1:{rabbit.port}/{vhost}",
            "MEDIA_SERVICE_ADDR": upstream.address,
            "ADMIN_TOKEN": canaries.of("ADMIN_TOKEN"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={canaries.of('OTEL_EXPORTER_OTLP_HEADERS')}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "LOG_LEVEL": "debug",
        }
        async with ProxyProcess(**settings) as proxy:
            await proxy.logged("consuming media events")
            yield Stage(canaries, proxy, own_redis, rabbit, upstream, collector, amqp)


async def _user(rabbit: RabbitServer, name: str, password: str, vhost: str) -> None:
    await rabbit.eval(
        f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, <<"tests">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>, '
        '<<"tests">>).'
    )


def _response(canaries: Canaries) -> bytes:
    url = (
        f"https://s3.test/{canaries.of('a path in a presigned URL')}"
        f"?X-Amz-Date={datetime.now(UTC):%Y%m%dT%H%M%SZ}&X-Amz-Expires=86400"
        f"&X-Amz-Credential={canaries.of('a presigned URL credential')}"
        f"&X-Amz-Signature={canaries.of('a presigned URL signature')}"
    )
    media = pb.Media(
        id=1, model_type="User", model_id=1, presigned_url=url, custom_properties=canaries.of("a response")
    )
    return pb.GetFilesByModelResponse(
        success=True, data=pb.GetFilesByModelData(media=[media], total=1)
    ).SerializeToString()


async def _answer(body: bytes, context: Context, seen: Seen) -> None:
    async for _ in requests(seen, context):
        break
    await context.write(body)


async def test_nothing_that_the_proxy_says_holds_a_secret(stage: Stage) -> None:
    await _all_goes_well(stage)
    await _events(stage)
    await stage.look_around()
    await _upstream_misbehaves(stage)
    await _redis_refuses(stage)
    await _rabbitmq_refuses(stage)
    await stage.look_around()
    await _upstream_is_no_grpc_server(stage)
    stage.proxy.terminate()
    assert await stage.proxy.exited() == 0
    canaries, spans = stage.canaries, "\n".join(map(str, stage.collector.requests))
    assert len(canaries.made) >= 19
    assert "media_cache.result" in spans
    for part in (
        "hit_ratio",
        '"entries"',
        '"why"',
        "REDIS_ADDR",
        "401 ",
        "media_cache_build_info",
        "UNAVAILABLE",
        "reached",
    ):
        assert any(part in text for text in stage.told), f"{part} was not even looked at"
    assert any(value == canaries.of("OTEL_EXPORTER_OTLP_HEADERS") for _, value in stage.collector.metadata)
    for where, text in (("stdout", stage.proxy.stdout), ("stderr", stage.proxy.stderr), ("spans", spans)):
        assert canaries.found_in(where, text) == []
    # What upstream says of a failure is the caller's to read, unchanged.
    assert [found for text in stage.told for found in canaries.found_in("an answer", text, but=("details",))] == []


async def _all_goes_well(stage: Stage) -> None:
    """A miss, a hit, an upload, a method that is only forwarded."""
    canaries = stage.canaries

    async def read(seen: Seen, context: Context) -> None:
        await _answer(_response(canaries), context, seen)

    async def uploaded(seen: Seen, context: Context) -> None:
        await _answer(pb.UploadFileResponse(success=True).SerializeToString(), context, seen)

    stage.upstream.behaviours |= {READ: read, UPLOAD: uploaded}
    for _ in range(3):
        assert canaries.of("a presigned URL signature").encode() in (await stage.call(READ, REQUEST) or b"")
    upload = pb.UploadFileRequest(
        content=canaries.of("an upload").encode(),
        file_name=canaries.of("an upload's file name"),
        model_type="User",
        model_id=1,
        collection_name="avatars",
    )
    assert await stage.call(UPLOAD, upload.SerializeToString()) is not None
    assert await stage.call(OTHER, canaries.of("a payload of an unknown method").encode()) is not None
    for method in (READ, OTHER):
        no_text = canaries.of("a credential that is no text").encode()
        await http2_call(stage.proxy.listen_port, method.encode(), [(b"authorization", b"\xff" + no_text)])
    unknown_field = REQUEST + b"\xfa\x01\x18" + canaries.of("a field that is unknown").encode()[:24]
    assert await stage.call(READ, unknown_field, ("cache-control", "no-cache")) is not None
    assert await stage.call(READ, b"\xff" + canaries.of("a request that is none").encode()) is not None
    for line in ("Cache miss for user avatar", "Cache hit for user avatar", "Invalidated user avatar cache"):
        await stage.proxy.logged(line)


async def _events(stage: Stage) -> None:
    """One that is right, and one of each kind that is wrong."""
    secret = stage.canaries.of("an event")
    fields = {"model_type": "user", "model_id": 1, "collection_name": "avatars", "file_name": secret}
    encoded = base64.b64encode(json.dumps(fields).encode()).decode()
    good = {"ownerId": stage.canaries.of("an event's envelope"), "data": encoded}
    bad = stage.canaries.of("a malformed event")
    bodies = [good, {"data": bad}, {"data": {"model_type": "user", "model_id": bad}}, {"data": {"x": bad}}, [bad]]
    for body in (json.dumps(each).encode() for each in bodies):
        await stage.publish(body)
    await stage.publish(f"{{ {bad}".encode())

    async def counted() -> bool:
        applied = await stage.proxy.metric('media_cache_events_total{outcome="applied"}')
        return applied == 1 and await stage.proxy.metric('media_cache_events_total{outcome="malformed"}') == 5

    await until(counted, "all events to be counted")
    await stage.proxy.logged("an event was dropped because it names no model")


async def _upstream_misbehaves(stage: Stage) -> None:
    """It fails with its own words, sends what is no response, and metadata that is not legal."""
    canaries = stage.canaries

    async def aborts(seen: Seen, context: Context) -> None:
        details = (("x-secret", canaries.of("trailing metadata")), ("x-bin", canaries.of("binary trailers").encode()))
        await context.abort(StatusCode.INTERNAL, canaries.of("details"), details)

    async def garbage(seen: Seen, context: Context) -> None:
        await _answer(b"\xff\xff" + canaries.of("a response that is none").encode(), context, seen)

    async def twice(seen: Seen, context: Context) -> None:
        await _answer(canaries.of("a second response").encode(), context, seen)
        await context.write(canaries.of("a second response").encode())

    for behaviour, methods in (
        (aborts, (READ, UPLOAD, OTHER)),
        (garbage, (READ, UPLOAD, OTHER)),
        (twice, (READ,)),  # any other unary call that is answered twice ends with its deadline
    ):
        for method in methods:
            stage.upstream.behaviours[method] = behaviour
            await stage.call(method, REQUEST, ("cache-control", "no-cache"))
    assert any(canaries.of("details") in text for text in stage.told)


async def _redis_refuses(stage: Stage) -> None:
    password = stage.canaries.of("REDIS_ADDR's password")
    async with stage.redis.client(password=password) as client:
        await client.execute_command("CONFIG", "SET", "requirepass", "another")  # type: ignore[no-untyped-call]
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    await stage.proxy.logged("redis lost: ")
    await stage.call(READ, REQUEST)


async def _rabbitmq_refuses(stage: Stage) -> None:
    user, vhost = stage.canaries.of("RABBITMQ_ADDR's user"), stage.amqp.rpartition("/")[2]
    await stage.rabbit.eval(
        f'rabbit_auth_backend_internal:change_password(<<"{user}">>, <<"another">>, <<"tests">>), '
        f'[rabbit_networking:close_connection(Pid, "tests") || Pid <- rabbit_networking:connections(), '
        f'rabbit_networking:connection_info(Pid, [vhost]) =:= [{{vhost, <<"{vhost}">>}}]].'
    )
    await stage.proxy.logged("RabbitMQ lost: ")

    async def refused() -> bool:
        return "REFUSED" in await stage.admin("/stats", stage.canaries.of("ADMIN_TOKEN"))

    await until(refused, "the credentials to be refused")


async def _upstream_is_no_grpc_server(stage: Stage) -> None:
    """Whoever has its port now sends bytes of its own."""
    await stage.upstream.stop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 400 {stage.canaries.of('what is no HTTP/2')}\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with StreamServer(talk, port=stage.upstream.port):
        await stage.proxy.logged("upstream lost: ")
        assert await stage.call(READ, REQUEST) is None
        await stage.look_around()
        for command in ("config", "ping"):
            ran = await run(command, "--json", **stage.proxy.settings)
            stage.told += [ran.out, ran.err]
