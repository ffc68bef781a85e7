"""The proxy as a process with TLS on every leg: it serves, takes renewed certificates, and fails no call for a leg that
is broken.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.tls import Leg
from proxy.transport.credentials import server_credentials
from tests.admin.test_commands import run
from tests.support.calling import Gateway, publish
from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.children import free_port
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer, tls_config
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.tls_legs import leg

READ = "media.MediaService/GetFilesByModel"


@dataclass(frozen=True, slots=True)
class Stack:
    """Servers that all show `shown` and all ask for a certificate of the authority's."""

    upstream: FakeMediaServer
    collector: Collector
    redis: RedisServer
    redis_port: int
    amqp: str
    amqps: str
    caller: Leg
    own: Issued
    """The proxy's certificate, on every leg."""
    settings: dict[str, str]


@pytest.fixture
async def stack(authority: Authority, rabbit: RabbitServer) -> AsyncIterator[Stack]:
    shown, own = authority.issue("127.0.0.1", "localhost"), authority.issue("127.0.0.1", "localhost")
    credentials = server_credentials(leg(authority.ca, shown, server=True))
    redis_port = free_port()
    amqp = await rabbit.vhost()
    amqps_port = await rabbit.secure(authority, shown, clients=True)
    amqps = f"amqps://guest:guest@localhost:{amqps_port}/{amqp.rpartition('/')[2]}"
    async with (
        FakeMediaServer(credentials=credentials) as upstream,
        Collector(credentials=server_credentials(leg(authority.ca, shown, server=True))) as collector,
        RedisServer(*tls_config(redis_port, authority, shown, clients=True)) as redis,
    ):
        settings = {
            **own.environment("LISTEN_TLS"),
            "LISTEN_TLS_CLIENT_CA": str(authority.ca),
            "MEDIA_SERVICE_ADDR": upstream.addr,
            "UPSTREAM_TLS": "on",
            "REDIS_ADDR": f"rediss://localhost:{redis_port}",
            "RABBITMQ_ADDR": amqps,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(own.cert),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(own.key),
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        for each in ("UPSTREAM_TLS", "REDIS_TLS", "RABBITMQ_TLS"):
            settings |= {**own.environment(each), f"{each}_CA": str(authority.ca)}
        caller = leg(authority.ca, authority.issue())
        yield Stack(upstream, collector, redis, redis_port, amqp, amqps, caller, own, settings)


async def _up(proxy: ProxyProcess, dependency: str) -> None:
    async def up() -> bool:
        settled = await proxy.metric("media_cache_invalidations_pending") == 0
        return settled and await proxy.metric(f'media_cache_dependency_up{{dependency="{dependency}"}}') == 1

    await until(up, f"{dependency} to be up")


@pytest.mark.usefixtures("each_transport")
async def test_every_leg_at_once(stack: Stack) -> None:
    async with ProxyProcess(**stack.settings) as proxy, Gateway(proxy.addr, stack.caller) as gateway:
        for dependency in ("redis", "rabbitmq", "upstream"):
            await _up(proxy, dependency)
        await gateway.hits()
        new = stack.upstream.media.add("user", 1)
        await publish(stack.amqp, 1)
        await until(lambda: _reads(gateway, new.uuid), "the event to be applied")
        await stack.collector.has(READ, "SERVER", times=2)
        async with Gateway(proxy.addr) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await plain.read()
            assert refused.value.code() is StatusCode.UNAVAILABLE
        assert not [line for line in proxy.lines if "WARNING" in line or "Traceback" in line]


async def _reads(gateway: Gateway, uuid: str) -> bool:
    return (await gateway.read()).uuids == [uuid]


@pytest.mark.usefixtures("each_transport")
async def test_renewed_certificates_are_taken_without_a_restart(stack: Stack, authority: Authority) -> None:
    before, renewed = stack.own.cert.read_text(), authority.issue("127.0.0.1", "localhost")
    async with ProxyProcess(**stack.settings) as proxy, Gateway(proxy.addr, stack.caller) as gateway:
        for dependency in ("redis", "rabbitmq", "upstream"):
            await _up(proxy, dependency)
        # The flush that a first start owes may fall between two reads.
        await gateway.hits()
        assert await _shown(proxy, stack) == before
        renewed.write_to(stack.own)
        for name in ("callers", "upstream", "redis", "rabbitmq"):
            await proxy.logged(f"the certificates for {name} were reloaded")
        assert await _shown(proxy, stack) == renewed.cert.read_text() != before
        await gateway.hits()  # over the connection that was there
        assert await gateway.x_cache(model_id=2) == "miss", "and so does upstream"
        stack.own.key.write_text("half of a key")
        await proxy.logged("TLS_CERT: ", times=4)
        assert await _shown(proxy, stack) == renewed.cert.read_text()
        assert await gateway.x_cache(model_id=3) == "miss"


async def _shown(proxy: ProxyProcess, stack: Stack) -> str:
    """The certificate that a new caller is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port, ssl=stack.caller.context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(shown)


@pytest.mark.usefixtures("each_transport")
async def test_broken_tls_to_redis_and_rabbitmq_fails_no_call(stack: Stack, stranger: Authority) -> None:
    settings = stack.settings | {"REDIS_TLS_CA": str(stranger.ca), "RABBITMQ_TLS_CA": str(stranger.ca)}
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr, stack.caller) as gateway:
        assert [await gateway.x_cache() for _ in range(2)] == ["miss", "miss"]
        (redis,) = await proxy.logged("redis lost: ")
        (rabbit,) = await proxy.logged("RabbitMQ lost: ")
        assert "certificate verify failed" in redis
        assert "certificate verify failed" in rabbit
        assert (await proxy.probe("/readyz"))[0] == 200


async def test_broken_tls_to_upstream_is_unavailable_and_one_clear_line(stack: Stack, stranger: Authority) -> None:
    settings = stack.settings | {"UPSTREAM_TLS_CA": str(stranger.ca)}
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr, stack.caller) as gateway:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await gateway.read()
            assert refused.value.code() is StatusCode.UNAVAILABLE
        (line,) = await proxy.logged("upstream lost: ")
        assert stack.upstream.addr in line
        assert "CERTIFICATE_VERIFY_FAILED" in line


async def test_a_collector_that_refuses_us_is_one_clear_line(stack: Stack, stranger: Authority) -> None:
    settings = stack.settings | {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(stranger.ca), "OTEL_EXPORTER_OTLP_TIMEOUT": "5"}
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr, stack.caller) as gateway:
        assert await gateway.x_cache() == "miss"
        (line,) = await proxy.logged("the trace collector loses spans: ")
        assert "CERTIFICATE_VERIFY_FAILED" in line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"LISTEN_TLS_KEY": ""}, "LISTEN_TLS_KEY: '' does not go with LISTEN_TLS_CERT="),
        (
            {"REDIS_TLS_CA": "/nowhere"},
            "REDIS_TLS_CA: '/nowhere' cannot be read: No such file or directory; accepted: ",
        ),
        ({"UPSTREAM_TLS": "off"}, "UPSTREAM_TLS_CA: '"),
        ({"OTEL_EXPORTER_OTLP_CLIENT_KEY": ""}, "OTEL_EXPORTER_OTLP_CLIENT_KEY: '' does not go with OTEL_EXPORTER_OTL"),
    ],
)
async def test_what_is_of_no_use_ends_the_start_with_one_line_and_status_2(
    stack: Stack, changes: dict[str, str], line: str
) -> None:
    ended = await run("serve", **(stack.settings | changes))
    assert ended.status == 2
    assert ended.out == ""
    (told,) = ended.err.splitlines()
    assert told.startswith(f"media-cache-proxy: {line}")


async def test_ping_goes_by_the_same_settings(stack: Stack, stranger: Authority) -> None:
    asked = {name: value for name, value in stack.settings.items() if not name.startswith(("LISTEN", "OTEL"))}
    assert (await run("ping", **asked)).status == 0
    wrong = {f"{each}_TLS_CA": str(stranger.ca) for each in ("UPSTREAM", "REDIS", "RABBITMQ")}
    told = await run("ping", **(asked | wrong))
    assert told.status == 1
    assert told.out.casefold().count("certificate") >= 3
    assert (await run("ping", **(asked | {"REDIS_TLS_CA": "/nowhere"}))).err.startswith(
        "media-cache-proxy: REDIS_TLS_CA: '/nowhere' cannot be read: "
    )
