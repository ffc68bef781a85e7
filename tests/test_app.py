"""The proxy as a process: it starts, serves, drains, and says what is wrong in one line."""

import asyncio
import gc
import json

import grpc
import grpc.aio
import pytest

from proxy import app
from proxy.pb import media_pb2 as pb
from proxy.settings.config import Settings
from tests.support.calling import Gateway
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

pytestmark = pytest.mark.usefixtures("each_transport")


async def test_first_read_after_ready_is_stored(redis: RedisServer) -> None:
    async with FakeMediaServer() as upstream:
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            async with Gateway(proxy.addr) as gateway:
                assert [await gateway.x_cache() for _ in range(3)] == ["miss", "hit", "hit"]
        assert upstream.media.count("GetFilesByModel") == 1


async def test_sigterm_loses_no_call(redis: RedisServer) -> None:
    async with FakeMediaServer() as upstream:
        gate = upstream.media.hold("GetFilesByModel")
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            async with Gateway(proxy.addr) as gateway:
                held = asyncio.create_task(gateway.read())
                await gate.reached()
                proxy.terminate()
                await proxy.logged("draining")
                assert (await proxy.probe("/readyz"))[0] == 503
                assert (await proxy.probe("/healthz"))[0] == 200
                async with Gateway(proxy.addr) as late:  # an app beside us may be draining too
                    response = await late.stub.GetFileByID(_by_id())
                    assert not response.success
                gate.open()
                assert (await held).x_cache == "miss"
                assert await proxy.exited() == 0


async def test_second_sigterm_cuts() -> None:
    async with FakeMediaServer() as upstream:
        gate = upstream.media.hold("GetFilesByModel")
        async with (
            ProxyProcess(MEDIA_SERVICE_ADDR=upstream.addr) as proxy,
            Gateway(proxy.addr) as gateway,
        ):
            held = asyncio.create_task(gateway.read())
            await gate.reached()
            proxy.terminate()
            await proxy.logged("draining")
            proxy.terminate()
            assert await proxy.exited() == 0
            with pytest.raises(grpc.aio.AioRpcError):
                await held


async def test_drain_time_is_the_longest_a_call_keeps_it() -> None:
    async with FakeMediaServer() as upstream:
        gate = upstream.media.hold("GetFilesByModel")
        async with ProxyProcess(MEDIA_SERVICE_ADDR=upstream.addr, DRAIN_TIME="100ms") as proxy:
            async with Gateway(proxy.addr) as gateway:
                held = asyncio.create_task(gateway.read())
                await gate.reached()
                proxy.terminate()
                assert await proxy.exited() == 0
                with pytest.raises(grpc.aio.AioRpcError):
                    await held
            assert "DRAIN_TIME" in proxy.stderr


async def test_an_address_in_use_is_one_line_and_status_1() -> None:
    async with ProxyProcess() as first:
        second = ProxyProcess(LISTEN_ADDR=first.addr)
        second.child.spawn()
        try:
            assert await second.exited() == 1
            last = second.stderr.splitlines()[-1]
            assert first.addr in last
            assert "LISTEN_ADDR" in last
            assert "Traceback" not in second.stderr
        finally:
            second.remove()


async def test_logs_are_json_lines_without_secrets(redis: RedisServer) -> None:
    secret = "c4n4ry"
    async with FakeMediaServer() as upstream:
        upstream.media.add("User", 1)
        async with ProxyProcess(
            REDIS_ADDR=f"redis://:{secret}@{redis.addr}",
            MEDIA_SERVICE_ADDR=upstream.addr,
            LOG_LEVEL="debug",
        ) as proxy:
            async with Gateway(proxy.addr) as gateway:
                await gateway.read(metadata=(("authorization", f"Bearer {secret}"),))
            proxy.terminate()
            assert await proxy.exited() == 0
            lines = [json.loads(line) for line in proxy.stderr.splitlines()]
            assert all({"ts", "level", "msg", "logger"} <= line.keys() for line in lines)
            assert any("Cache miss" in line["msg"] for line in lines)
            assert secret not in proxy.stderr
            assert "X-Amz-Signature" not in proxy.stderr


async def test_seed_wording_in_the_debug_log(redis: RedisServer) -> None:
    async with FakeMediaServer() as upstream:
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, LOG_LEVEL="debug") as proxy:
            async with Gateway(proxy.addr) as gateway:
                await gateway.read()
                await proxy.logged("Cache miss for user avatar")
                await gateway.read()
                await proxy.logged("Cache hit for user avatar")
                await gateway.upload()
                await proxy.logged("Invalidated user avatar cache")
                await gateway.read("Product", 5, "images")
                await proxy.logged("Cache miss for model media")


async def test_metrics_count_hits_misses_and_invalidations(redis: RedisServer) -> None:
    async with FakeMediaServer() as upstream:
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
            async with Gateway(proxy.addr) as gateway:
                for _ in range(3):
                    await gateway.read()
                await gateway.upload()
            assert await proxy.metric('media_cache_requests_total{result="hit"}') == 2
            assert await proxy.metric('media_cache_requests_total{result="miss"}') == 1
            assert await proxy.metric('media_cache_invalidations_total{source="write"}') == 1
            assert await proxy.metric('media_cache_dependency_up{dependency="redis"}') == 1
            await until(lambda: _is_up(proxy), "upstream to be reported up")
            assert "rabbitmq" not in (await proxy.probe("/metrics"))[1]  # none configured: absent, so no alert fires


async def test_collections_leave_alone_what_was_there_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: collected.append(True))
    listen, stop = f"127.0.0.1:{free_port()}", app.Stop()
    settings = Settings(listen_addr=listen, redis_addr=None, rabbitmq_addr=(), probe_addr="", admin_addr="")
    serving = asyncio.create_task(app.run_with(settings, sources={}, make_transport=app.listener, stop=stop))
    try:
        await until(lambda: collected or serving.done(), "the start")
        assert collected == [True]
    finally:
        stop.ask()
        stop.ask()
        await serving


async def _is_up(proxy: ProxyProcess) -> bool:
    return await proxy.metric('media_cache_dependency_up{dependency="upstream"}') == 1


def _by_id() -> pb.GetFileByIDRequest:
    return pb.GetFileByIDRequest(id=404)
