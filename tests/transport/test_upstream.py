"""Every outcome of a call upstream as a Reply, over real sockets."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Metadata, Reply
from proxy.transport.upstream import Upstream
from tests.support.raw_http2 import END_STREAM, Http2Server, headers, message
from tests.support.raw_upstream import Behaviour, Context, RawUpstream, Recorder, Seen, requests
from tests.support.servers.children import free_port
from tests.support.servers.heap import heap_bytes
from tests.support.servers.streams import StreamServer
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
RICH: Metadata = (("grpc-status-details-bin", b"\x08\x05\x12\x01x"), ("why", "1"), ("why", "2"))


@pytest.fixture
async def raw() -> AsyncIterator[RawUpstream]:
    async with RawUpstream() as server:
        yield server


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def upstream(raw: RawUpstream, recorder: Recorder) -> AsyncIterator[Upstream]:
    upstream = Upstream(raw.address, recorder)
    yield upstream
    await upstream.close()


def answers(
    *messages: bytes, code: StatusCode = StatusCode.OK, initial: Metadata = (), trailing: Metadata = ()
) -> Behaviour:
    """A behaviour: reads the first request, then sends these messages and this status."""

    async def behaviour(seen: Seen, context: Context) -> None:
        async for _ in requests(seen, context):
            break
        if initial:
            await context.send_initial_metadata(initial)
        for body in messages:
            await context.write(body)
        if code is not StatusCode.OK:
            await context.abort(code, "as told", trailing)
        context.set_trailing_metadata(trailing)

    return behaviour


async def hangs(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        pass
    await asyncio.Event().wait()


BOTH_WAYS = pytest.mark.parametrize("exactly_one", [True, False])


@BOTH_WAYS
async def test_a_success_carries_bytes_and_metadata_both_ways(
    raw: RawUpstream, upstream: Upstream, recorder: Recorder, exactly_one: bool
) -> None:
    initial: Metadata = (("i", "1"), ("i", "2"), ("i-bin", b"\x00\xff"))
    raw.behaviours[METHOD] = answers(b"\x00answer", initial=initial, trailing=RICH)
    sent: Metadata = (("k", "1"), ("k", "2"), ("k-bin", b"\x00\xff"), ("host", "not passed on"))
    reply = await upstream.unary(Call(METHOD, b"\x00ask", sent), timeout=30, exactly_one=exactly_one)
    assert reply == Reply(b"\x00answer", initial_metadata=initial, trailing_metadata=RICH)
    assert raw.seen[0].messages == [b"\x00ask"]
    assert [pair for pair in raw.seen[0].metadata if pair[0] != "user-agent"] == list(sent[:3])
    assert recorder.client == [(METHOD, StatusCode.OK)]


@BOTH_WAYS
async def test_a_failure_carries_its_status_whole(raw: RawUpstream, upstream: Upstream, exactly_one: bool) -> None:
    raw.behaviours[METHOD] = answers(code=StatusCode.ABORTED, initial=(("i", "1"),), trailing=RICH)
    reply = await upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one)
    assert reply == Reply(None, StatusCode.ABORTED, "as told", (("i", "1"),), RICH)


@BOTH_WAYS
async def test_a_message_before_a_failure_is_not_an_answer(
    raw: RawUpstream, upstream: Upstream, exactly_one: bool
) -> None:
    raw.behaviours[METHOD] = answers(b"half", code=StatusCode.DATA_LOSS)
    reply = await upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one)
    assert (reply.body, reply.code) == (None, StatusCode.DATA_LOSS)


@BOTH_WAYS
async def test_ok_without_a_message_is_internal(
    raw: RawUpstream, upstream: Upstream, recorder: Recorder, exactly_one: bool
) -> None:
    raw.behaviours[METHOD] = answers()
    reply = await upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one)
    assert (reply.code, reply.details) == (
        StatusCode.INTERNAL,
        "the media service answered a unary call with no message",
    )
    assert recorder.client == [(METHOD, StatusCode.INTERNAL)]


async def test_ok_with_several_messages_is_internal(raw: RawUpstream, upstream: Upstream) -> None:
    raw.behaviours[METHOD] = answers(b"one", b"two")
    reply = await upstream.unary(Call(METHOD, b""), timeout=30)
    assert (reply.body, reply.code) == (None, StatusCode.INTERNAL)
    assert reply.details == "the media service answered a unary call with several messages"


async def test_what_is_no_unary_answer_is_not_left_running(raw: RawUpstream, upstream: Upstream) -> None:
    async def endless(seen: Seen, context: Context) -> None:
        while True:
            await context.write(b"x" * 65536)

    raw.behaviours[METHOD] = endless
    gc.disable()
    try:
        assert (await upstream.unary(Call(METHOD, b""), timeout=60)).code is StatusCode.INTERNAL
        await asyncio.wait_for(raw.seen[0].cancelled.wait(), 30)
    finally:
        gc.enable()


@BOTH_WAYS
async def test_an_empty_message_is_a_message(raw: RawUpstream, upstream: Upstream, exactly_one: bool) -> None:
    raw.behaviours[METHOD] = answers(b"")
    assert await upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one) == Reply(b"")


@BOTH_WAYS
async def test_illegal_metadata_is_the_callers_fault(raw: RawUpstream, upstream: Upstream, exactly_one: bool) -> None:
    reply = await upstream.unary(Call(METHOD, b"", (("k", "ü"),)), timeout=30, exactly_one=exactly_one)
    assert reply.code is StatusCode.INVALID_ARGUMENT
    assert reply.details == "request metadata 'k' cannot be forwarded: not legal in gRPC"
    assert raw.seen == []


@BOTH_WAYS
async def test_illegal_metadata_from_upstream_is_left_out_and_logged(
    recorder: Recorder, exactly_one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"ok", b"1")]
    last = [(b"grpc-status", b"0"), (b"bad", "ü".encode()), (b"ok", b"2")]
    answer = headers(1, first) + message(1, b"body") + headers(1, last, END_STREAM)
    async with Http2Server(answer).serving() as server:
        upstream = Upstream(f"127.0.0.1:{server.port}", recorder)
        with caplog.at_level(logging.WARNING):
            reply = await upstream.unary(Call(METHOD, b"q"), timeout=30, exactly_one=exactly_one)
        await upstream.close()
    assert reply == Reply(b"body", initial_metadata=(("ok", "1"),), trailing_metadata=(("ok", "2"),))
    assert [record.getMessage() for record in caplog.records if record.name == "proxy.transport.upstream"] == [
        f"{METHOD}: upstream's metadata bad is not legal in gRPC and was left out"
    ]


@BOTH_WAYS
async def test_upstream_sees_the_deadline_and_it_is_kept(
    raw: RawUpstream, upstream: Upstream, exactly_one: bool
) -> None:
    await upstream.unary(Call("/s/echo", b""), timeout=None, exactly_one=exactly_one)
    await upstream.unary(Call("/s/echo", b""), timeout=30, exactly_one=exactly_one)
    raw.behaviours[METHOD] = hangs
    reply = await upstream.unary(Call(METHOD, b""), timeout=0.2, exactly_one=exactly_one)
    assert reply.code is StatusCode.DEADLINE_EXCEEDED
    without, given, _ = (seen.time_remaining for seen in raw.seen)
    assert without is None
    assert given is not None
    assert 0 < given < 31  # the wire rounds up
    await asyncio.wait_for(raw.seen[2].cancelled.wait(), 30)


@BOTH_WAYS
async def test_cancellation_reaches_upstream(
    raw: RawUpstream, upstream: Upstream, recorder: Recorder, exactly_one: bool
) -> None:
    raw.behaviours[METHOD] = hangs
    task = asyncio.create_task(upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one))
    await until(lambda: raw.seen and raw.seen[0].messages)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(raw.seen[0].cancelled.wait(), 30)
    assert recorder.client == [(METHOD, StatusCode.CANCELLED)]


async def test_a_cancelled_call_leaves_little_behind(raw: RawUpstream, upstream: Upstream) -> None:
    raw.behaviours[METHOD] = hangs

    async def cut(calls: int) -> int:
        for _ in range(calls // 50):
            work = [upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=False) for _ in range(50)]
            tasks = [asyncio.create_task(one) for one in work]
            await until(lambda: len(raw.seen) == 50 and all(seen.messages for seen in raw.seen))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: all(seen.cancelled.is_set() for seen in raw.seen))
            raw.seen.clear()
        gc.collect()
        return heap_bytes()

    warm = await cut(500)
    assert (await cut(1500) - warm) / 1500 < 450


@BOTH_WAYS
async def test_a_closed_channel_is_unavailable_for_calls_in_progress_and_new_ones(
    raw: RawUpstream, upstream: Upstream, exactly_one: bool
) -> None:
    raw.behaviours[METHOD] = hangs
    task = asyncio.create_task(upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one))
    await until(lambda: raw.seen)
    await upstream.close()
    closed = Reply(code=StatusCode.UNAVAILABLE, details="the proxy is shutting down")
    assert await task == closed
    assert await upstream.unary(Call(METHOD, b""), timeout=30, exactly_one=exactly_one) == closed


@BOTH_WAYS
async def test_upstream_away_fails_at_once_with_grpcs_own_words(recorder: Recorder, exactly_one: bool) -> None:
    upstream = Upstream(f"127.0.0.1:{free_port()}", recorder)
    reply = await asyncio.wait_for(upstream.unary(Call(METHOD, b""), timeout=None, exactly_one=exactly_one), 20)
    await upstream.close()
    assert reply.code is StatusCode.UNAVAILABLE
    assert "Connection refused" in reply.details
    assert recorder.client == [(METHOD, StatusCode.UNAVAILABLE)]


async def test_a_call_on_a_connection_that_dies_is_unavailable(raw: RawUpstream, upstream: Upstream) -> None:
    raw.behaviours[METHOD] = hangs
    call = asyncio.create_task(upstream.unary(Call(METHOD, b""), timeout=30))
    await until(lambda: raw.seen)
    await raw.stop()
    assert (await call).code in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}


async def test_the_watch_tells_of_loss_and_return_and_calls_work_again(raw: RawUpstream, upstream: Upstream) -> None:
    told: list[bool] = []
    reasons: list[str] = []

    def changed(up: bool, reason: str) -> None:
        told.append(up)
        reasons.append(reason)

    watch = asyncio.create_task(upstream.watch(changed))
    await until(lambda: told == [True], "the first connection, without any call")
    await raw.stop()
    await until(lambda: told == [True, False], "the loss, without any call")
    assert (await upstream.unary(Call("/s/echo", b"1"), timeout=None)).code is StatusCode.UNAVAILABLE
    await raw.start()
    await until(lambda: told == [True, False, True], "the return, without any call")
    assert (await upstream.unary(Call("/s/echo", b"2"), timeout=30)).body == b"2"
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert told == [True, False, True]
    assert reasons[0] == reasons[2] == ""
    assert raw.address in reasons[1]
    assert reasons[1].endswith(": connection refused")
    assert not [seen for seen in raw.seen if "echo" not in seen.method], "asking why must send nothing"


async def test_the_pause_between_attempts_to_connect_stays_short(recorder: Recorder) -> None:
    """With gRPC's own pauses (1 s, 1.6 s, 2.6 s, ...) the seventh attempt would come after 25 s."""
    attempts = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with StreamServer(refuse) as server:
        upstream = Upstream(f"127.0.0.1:{server.port}", recorder)
        watch = asyncio.create_task(upstream.watch(lambda up, reason: None))
        try:
            await until(lambda: attempts >= 7, "seven attempts", timeout=15)
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            await upstream.close()


async def test_metadata_beyond_grpcs_default_limits_passes(raw: RawUpstream, upstream: Upstream) -> None:
    large = (("large", "x" * 200_000),)
    raw.behaviours[METHOD] = answers(b"a", initial=large, trailing=large)
    reply = await upstream.unary(Call(METHOD, b"", large), timeout=30)
    assert reply == Reply(b"a", initial_metadata=large, trailing_metadata=large)
    assert ("large", "x" * 200_000) in raw.seen[0].metadata


async def test_no_retry_of_ours(raw: RawUpstream, upstream: Upstream) -> None:
    raw.behaviours[METHOD] = answers(code=StatusCode.UNAVAILABLE)
    assert (await upstream.unary(Call(METHOD, b""), timeout=30)).code is StatusCode.UNAVAILABLE
    assert raw.count(METHOD) == 1


async def test_a_unix_socket_is_a_target(recorder: Recorder, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/media.sock"
    server = grpc.aio.server(handlers=[RawUpstream()])
    server.add_insecure_port(target)
    await server.start()
    upstream = Upstream(target, recorder)
    try:
        assert (await upstream.unary(Call("/s/echo", b"hi"), timeout=30)).body == b"hi"
    finally:
        await upstream.close()
        await server.stop(None)
