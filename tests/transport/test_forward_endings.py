"""The ends of forwarded calls: deadlines, cancellation, peers that vanish or do not read (I7, I8)."""

import asyncio
import socket
from collections.abc import Callable

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Metadata
from proxy.transport.upstream import StreamCall
from tests.support.raw_http2 import DATA, END_STREAM, RST_STREAM, Http2Server
from tests.support.raw_upstream import Chain, Context, Seen, all_of, requests
from tests.support.servers.waiting import until

STREAM = "/any.Service/Anything"
UNARY = "/media.MediaService/GetFileByID"
UPLOAD = "/media.MediaService/UploadFile"
BOTH_KINDS = pytest.mark.parametrize("method", [STREAM, UNARY])


@pytest.fixture
async def chain(any_chain: Chain) -> Chain:
    return any_chain


@BOTH_KINDS
async def test_upstream_sees_the_callers_deadline(chain: Chain, method: str) -> None:
    await chain.unary(method, timeout=20)
    remaining = chain.raw.seen[0].time_remaining
    assert remaining is not None
    assert 0 < remaining < 21  # the wire rounds up


async def test_without_a_deadline_unary_calls_get_ours_and_all_others_none() -> None:
    async with Chain(call_timeout=20) as chain:
        for method in (UNARY, UPLOAD, STREAM):
            await chain.unary(method, timeout=None)
        unary, upload, stream = (seen.time_remaining for seen in chain.raw.seen)
        assert unary is not None
        assert 0 < unary < 21
        assert upload is None
        assert stream is None
    async with Chain(call_timeout=0) as chain:
        await chain.unary(UNARY, timeout=None)
        assert chain.raw.seen[0].time_remaining is None


async def hangs(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        pass
    await asyncio.Event().wait()


@BOTH_KINDS
async def test_a_deadline_that_passes_ends_the_call_on_both_sides(chain: Chain, method: str) -> None:
    chain.raw.behaviours[method] = hangs
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await chain.unary(method, timeout=0.3)
    assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(chain.raw.seen[0].cancelled.wait(), 30)


@BOTH_KINDS
async def test_cancellation_reaches_upstream(chain: Chain, method: str) -> None:
    chain.raw.behaviours[method] = hangs
    call = chain.unary(method, b"1")
    await until(lambda: chain.raw.seen and chain.raw.seen[0].messages)
    call.cancel()
    await asyncio.wait_for(chain.raw.seen[0].cancelled.wait(), 30)


@BOTH_KINDS
async def test_a_cancelled_call_is_observed_as_such(grpcio_chain: Chain, method: str) -> None:
    chain = grpcio_chain
    chain.raw.behaviours[method] = hangs
    call = chain.unary(method, b"1")
    await until(lambda: chain.raw.seen)
    call.cancel()
    await until(lambda: chain.recorder.server == [(method, StatusCode.CANCELLED)])
    assert chain.recorder.client == [(method, StatusCode.CANCELLED)]


async def _vanish_mid_stream(chain: Chain, *, half_closed: bool) -> None:
    """Returns once upstream has noticed it."""
    chain.raw.behaviours[STREAM] = endless_once_asked if half_closed else endless
    caller = chain.connect()
    stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = caller.stream_stream(STREAM)
    call = stream()
    if half_closed:
        await call.done_writing()
    assert await call.read()
    await caller.close()
    await asyncio.wait_for(chain.raw.seen[0].cancelled.wait(), 30)


@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_caller_that_vanishes_mid_stream_frees_the_call_upstream(chain: Chain, half_closed: bool) -> None:
    await _vanish_mid_stream(chain, half_closed=half_closed)


@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_caller_that_vanishes_mid_stream_leaves_nothing_behind(
    grpcio_chain: Chain, half_closed: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = grpcio_chain
    kept: list[StreamCall] = []  # so that it is not garbage collected, which would cancel it too
    begin = chain.upstream.stream

    def begin_and_keep(method: str, metadata: Metadata, *, timeout: float | None) -> StreamCall:
        kept.append(begin(method, metadata, timeout=timeout))
        return kept[-1]

    monkeypatch.setattr(chain.upstream, "stream", begin_and_keep)
    await _vanish_mid_stream(chain, half_closed=half_closed)
    await until(lambda: chain.recorder.server == [(STREAM, StatusCode.CANCELLED)])
    assert chain.admission.in_progress == 0
    assert [call.done() for call in kept] == [True]
    assert [record for record in caplog.records if record.name.startswith("proxy")] == []


async def endless_once_asked(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        pass
    await endless(seen, context)


async def endless(seen: Seen, context: Context) -> None:
    while True:
        await context.write(b"x" * 65536)


async def test_upstream_dying_mid_stream_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with Chain(target=f"127.0.0.1:{port}") as chain:
            call = chain.stream(STREAM)
            await call.write(b"1")
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, listening.accept)
            connection.close()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await all_of(call)
            assert raised.value.code() is StatusCode.UNAVAILABLE


async def test_upstream_away_is_unavailable_at_once_and_works_after_its_return(chain: Chain) -> None:
    await chain.raw.stop()
    for method in (STREAM, UNARY):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await chain.unary(method, timeout=None)
        assert raised.value.code() is StatusCode.UNAVAILABLE
    await chain.raw.start()

    async def works() -> bool:
        try:
            return await chain.unary(STREAM, b"back") == b"back"
        except grpc.aio.AioRpcError:
            return False

    await until(works, "upstream to be used again", timeout=5)


async def test_a_cut_off_stream_of_requests_does_not_reach_upstream_as_a_whole_one() -> None:
    async with Http2Server().serving() as server, Chain(target=f"127.0.0.1:{server.port}") as chain:
        for attempt in range(20):
            call = chain.stream(STREAM)
            await call.write(b"half of it")
            await until(lambda n=attempt: len(server.of(DATA)) > n)  # type: ignore[misc]
            call.cancel()
            await until(lambda n=attempt: len(server.of(RST_STREAM)) > n)  # type: ignore[misc]
        assert [frame for frame in server.of(DATA) if frame.flags & END_STREAM] == []


async def test_a_caller_that_does_not_read_holds_upstream_back(chain: Chain) -> None:
    sent = 0

    async def count(seen: Seen, context: Context) -> None:
        nonlocal sent
        while True:
            await context.write(b"x" * 65536)
            sent += 1

    chain.raw.behaviours[STREAM] = count
    call = chain.stream(STREAM)
    assert await call.read()
    await stands_still(lambda: sent)
    assert sent < 16  # of 64 KiB each: the windows of two connections and one message in flight
    before = sent
    for _ in range(200):
        assert await call.read()
    assert sent > before
    call.cancel()


async def test_an_upstream_that_does_not_read_holds_the_caller_back(chain: Chain) -> None:
    enough = asyncio.Event()

    async def deaf(seen: Seen, context: Context) -> None:
        await enough.wait()
        await context.abort(StatusCode.OUT_OF_RANGE, "enough")

    chain.raw.behaviours[STREAM] = deaf
    call, sent = chain.stream(STREAM), 0

    async def send() -> None:
        nonlocal sent
        while True:
            await call.write(b"x" * 65536)
            sent += 1

    sending = asyncio.create_task(send())
    await until(lambda: sent > 0)
    await stands_still(lambda: sent)
    assert sent < 16
    enough.set()
    assert await call.code() is StatusCode.OUT_OF_RANGE
    await asyncio.wait([sending])
    assert isinstance(sending.exception(), (grpc.aio.AioRpcError, asyncio.InvalidStateError))


async def stands_still(number: Callable[[], int]) -> None:
    """Returns once a number has not changed in 30 consecutive checks."""
    last, looks = number(), 0

    def still() -> bool:
        nonlocal last, looks
        now = number()
        last, looks = now, looks + 1 if now == last else 0
        return looks >= 30

    await until(still)
