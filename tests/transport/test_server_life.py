"""The listener from its start, over failures, to the end of its drain (I9), over real sockets."""

import asyncio
import logging
from pathlib import Path

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from proxy.errors import StartError
from proxy.transport.admission import Admission
from tests.support.raw_http2 import call as http2_call
from tests.support.raw_upstream import Chain, Held, status_of, unary
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
FORWARDED = "/media.MediaService/GetFileURL"


async def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    async with Chain() as chain:
        address = f"127.0.0.1:{chain.port}"
        with pytest.raises(StartError) as raised:
            async with Chain(address=address):
                pass
    assert str(raised.value).startswith(f"LISTEN_ADDR: '{address}' cannot be opened to listen on; accepted: ")


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    async with Chain(address=f"unix:{tmp_path}/proxy.sock") as chain:
        assert await chain.unary(FORWARDED, b"hi") == b"hi"


async def test_a_path_that_breaks_grpcs_accept_loop_costs_no_call_in_progress_and_not_the_port() -> None:
    held = Held()
    async with Chain(routes={METHOD: held}) as chain:
        supervisor = asyncio.create_task(chain.listener.supervise(every=0.02))
        in_progress = asyncio.ensure_future(status_of(chain.unary(METHOD)))
        await until(lambda: held.arrived)
        await http2_call(chain.port, b"/s/\xff")

        async def serves_again() -> bool:
            async with chain.connect() as caller:
                return await status_of(unary(caller, FORWARDED, timeout=5)) == (StatusCode.OK, "")

        await until(serves_again, "the port to be open again")
        assert not in_progress.done()
        held.release.set()
        assert await in_progress == (StatusCode.OK, "")
        supervisor.cancel()
        await asyncio.wait([supervisor])


async def test_the_supervisor_ends_with_the_listener() -> None:
    async with Chain() as chain:
        supervisor = asyncio.create_task(chain.listener.supervise(every=0.02))
        await chain.listener.stop()
        await asyncio.wait_for(supervisor, 20)


class Pause:
    """The sleep of an `Admission`, which the test ends as if `idle` seconds had passed without a call."""

    def __init__(self) -> None:
        self.entered = 0
        self.now = 0.0
        self._passed = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.entered += 1
        await self._passed.wait()
        self.now += seconds

    def over(self) -> None:
        self._passed.set()


async def healthy(chain: Chain) -> bool:
    stub = health_pb2_grpc.HealthStub(chain.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_draining_loses_no_call() -> None:
    """It reports NOT_SERVING at once; calls in progress end and new ones are served; then the port is closed."""
    held, pause = Held(), Pause()
    async with Chain(routes={METHOD: held}, admission=Admission(100, pause, pause.sleep)) as chain:
        in_progress = asyncio.ensure_future(status_of(chain.unary(METHOD)))
        await until(lambda: held.arrived)
        assert await healthy(chain)
        drain = asyncio.create_task(chain.listener.drain(2.0, at_most=60))
        await until(lambda: not_healthy(chain))
        assert await status_of(chain.unary(FORWARDED)) == (StatusCode.OK, "")
        assert pause.entered == 0
        held.release.set()
        assert await in_progress == (StatusCode.OK, "")
        await until(lambda: pause.entered)
        async with chain.connect() as late_caller:
            assert await status_of(unary(late_caller, FORWARDED)) == (StatusCode.OK, "")
        assert not drain.done()
        pause.over()
        await asyncio.wait_for(drain, 30)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", chain.port)


async def not_healthy(chain: Chain) -> bool:
    return not await healthy(chain)


async def test_draining_ends_although_a_health_watcher_stays() -> None:
    async with Chain() as chain:
        stub = health_pb2_grpc.HealthStub(chain.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.wait_for(chain.listener.drain(0.0, at_most=60), 30)


async def test_calls_that_never_end_are_cut_when_the_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    held = Held()
    async with Chain(routes={METHOD: held}) as chain:
        in_progress = asyncio.ensure_future(status_of(chain.unary(METHOD)))
        await until(lambda: held.arrived)
        with caplog.at_level(logging.WARNING):
            await asyncio.wait_for(chain.listener.drain(2.0, at_most=0.1), 30)
        assert (await in_progress)[0] in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
        await until(lambda: held.ended == ["cancelled"])
    assert "calls still in progress after 0.1 s (DRAIN_TIME) are cut: 1" in caplog.messages


async def test_a_stopped_listener_can_be_stopped_again() -> None:
    async with Chain() as chain:
        await chain.listener.stop()
        await chain.listener.stop()
