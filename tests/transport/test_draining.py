"""SIGTERM under continuous load, and the age of connections, on each transport (I9)."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.transport.draining import last_part
from tests.abuse.attack import attacker, fields
from tests.support.raw_http2 import DATA, END_STREAM, GOAWAY, headers, message
from tests.support.raw_upstream import BIG, Context, RawUpstream, Seen, requests, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

METHODS = ("/media.MediaService/GetFileURL", "/any.Service/Anything")
_CALLERS = 20


async def takes_a_while(seen: Seen, context: Context) -> None:
    async for each in requests(seen, context):
        await asyncio.sleep(0.2)
        await context.write(each)


class Callers:
    """Callers with a channel each, which make one call after the other until nobody accepts a connection."""

    def __init__(self, addr: str) -> None:
        self.outcomes = Counter[str]()
        self.served = 0
        self._addr = addr

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(_CALLERS):
                tasks.create_task(self._call(METHODS[number % len(METHODS)]))

    async def _call(self, method: str) -> None:
        async with grpc.aio.insecure_channel(self._addr, options=BIG) as channel:
            while True:
                try:
                    await unary(channel, method, b"asked")
                    self.served += 1
                except grpc.aio.AioRpcError as error:
                    details = error.details() or ""
                    if details.startswith("failed to connect to all addresses"):
                        return
                    self.outcomes[f"{error.code().name}: {details}"] += 1


@pytest.mark.usefixtures("each_transport")
async def test_calls_in_progress_at_the_end_of_the_drain_are_answered(transport: str) -> None:
    """gRPC's core cancels calls whose caller has not seen the GOAWAY yet; no other failure is allowed."""
    async with RawUpstream() as upstream:
        upstream.behaviours = dict.fromkeys(METHODS, takes_a_while)
        async with ProxyProcess(MEDIA_SERVICE_ADDR=upstream.address, DRAIN_TIME="4s") as proxy:
            callers = Callers(proxy.addr)
            calling = asyncio.create_task(callers.run())
            await until(lambda: callers.served > 2 * _CALLERS, "all to call")
            proxy.terminate()
            await proxy.logged("draining")
            before = callers.served
            await until(lambda: callers.served > before + 2 * _CALLERS, "calls during the drain to be answered")
            await calling
            assert await proxy.exited() == 0
            assert not [line for line in proxy.lines if "are cut" in line]
    expected = {"CANCELLED: CANCELLED"} if transport == "grpcio" else set[str]()
    assert set(callers.outcomes) <= expected, callers.outcomes
    assert sum(callers.outcomes.values()) < _CALLERS


async def test_callers_whose_connections_grow_old_have_left_before_the_end() -> None:
    """New connections go to another proxy, as with a Kubernetes Service. No call fails, and the drain is short."""
    async with RawUpstream() as upstream:
        given = {"TRANSPORT": "grpcio", "MEDIA_SERVICE_ADDR": upstream.address}
        given |= {"MAX_CONNECTION_AGE": "1s", "DRAIN_TIME": "5m"}
        async with ProxyProcess(**given) as leaving, ProxyProcess(**given) as staying:
            async with FaultyTcp(leaving.listen_port) as service:
                callers = Callers(service.addr)
                calling = asyncio.create_task(callers.run())
                await until(lambda: callers.served > 2 * _CALLERS, "all to call")
                service.target = ("127.0.0.1", staying.listen_port)
                leaving.terminate()
                assert await leaving.exited(timeout=60) == 0
                calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)
    assert callers.outcomes == {}


async def test_envoy_asks_callers_to_leave_with_the_first_answer_of_the_drain() -> None:
    async with RawUpstream() as upstream:
        given = {"TRANSPORT": "envoy", "MEDIA_SERVICE_ADDR": upstream.address}
        async with (
            ProxyProcess(**given) as proxy,
            AsyncExitStack() as stack,
        ):
            early = await stack.enter_async_context(attacker(proxy.listen_port))
            await early.send(headers(1, fields(METHODS[1])) + message(1, b"asked"))
            await until(lambda: early.kinds[DATA] == 1, "an answer")
            assert not early.kinds[GOAWAY]
            proxy.terminate()
            await proxy.logged("draining")
            late = await stack.enter_async_context(attacker(proxy.listen_port))
            for one, stream in ((early, 3), (late, 1)):
                await one.send(headers(stream, fields(METHODS[1])) + message(stream, b"asked", END_STREAM))
                await until(lambda one=one: one.ended == 1, "a call to be served during the drain")  # type: ignore[misc]
                await until(lambda one=one: one.kinds[GOAWAY], "GOAWAY")  # type: ignore[misc]
            await early.send(message(1, b"more", END_STREAM))
            await until(lambda: early.ended == 2, "the call that was in progress to go on")
            assert await proxy.exited() == 0


@pytest.mark.usefixtures("each_transport")
async def test_connections_that_are_old_are_told_so_and_their_calls_go_on() -> None:
    async with RawUpstream() as upstream:
        settings = {"MEDIA_SERVICE_ADDR": upstream.address, "MAX_CONNECTION_AGE": "1s"}
        async with ProxyProcess(**settings) as proxy, attacker(proxy.listen_port) as one:
            await one.send(headers(1, fields(METHODS[1])) + message(1, b"asked"))
            await until(lambda: one.kinds[DATA] == 1, "an answer")
            await until(lambda: one.kinds[GOAWAY], "GOAWAY")
            await one.send(message(1, b"more", END_STREAM))
            await until(lambda: one.ended == 1, "the call to end by itself")
            assert one.kinds[DATA] == 2


@pytest.mark.usefixtures("each_transport")
async def test_a_caller_notices_nothing_of_its_connections_age() -> None:
    async with RawUpstream() as upstream:
        settings = {"MEDIA_SERVICE_ADDR": upstream.address, "MAX_CONNECTION_AGE": "300ms"}
        async with ProxyProcess(**settings) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as channel:
                loop = asyncio.get_running_loop()
                until_then, codes = loop.time() + 3, set[StatusCode]()
                while loop.time() < until_then:
                    call = unary(channel, METHODS[1], b"asked")
                    codes.add(await call.code())
    assert codes == {StatusCode.OK}


def test_the_last_part_is_a_quarter_and_never_long() -> None:
    assert (last_part(2.0), last_part(20.0), last_part(600.0)) == (0.5, 5.0, 5.0)
