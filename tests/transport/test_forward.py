"""Forwarded calls pass unchanged in both directions (I7), over real sockets."""

import asyncio
import json

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Metadata
from tests.support.envoy_chain import without_date
from tests.support.raw_http2 import END_STREAM, Http2Server, headers
from tests.support.raw_http2 import call as http2_call
from tests.support.raw_upstream import Chain, Context, Seen, all_of, echo, requests
from tests.support.servers.waiting import until

STREAM = "/any.Service/Anything"
UNARY = "/media.MediaService/GetFileByID"
BOTH_KINDS = pytest.mark.parametrize("method", [STREAM, UNARY])
RICH: Metadata = (("grpc-status-details-bin", b"\x08\x05\x12\x01x"), ("why", "1"), ("why", "2"))


@pytest.fixture
async def chain(any_chain: Chain) -> Chain:
    return any_chain


async def test_all_four_kinds_of_method(chain: Chain) -> None:
    async def answer_all(seen: Seen, context: Context) -> None:
        async for _ in requests(seen, context):
            pass
        await context.write(b",".join(seen.messages))

    assert await chain.unary(STREAM, b"\x00one") == b"\x00one"
    chain.raw.behaviours["/s/ClientStream"] = answer_all
    client_stream: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = chain.channel.stream_unary("/s/ClientStream")
    assert await client_stream(iter([b"1", b"", b"3"]), timeout=30) == b"1,,3"
    server_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = chain.channel.unary_stream(STREAM)
    assert [message async for message in server_stream(b"only", timeout=30)] == [b"only"]
    both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = chain.channel.stream_stream(STREAM)
    numbers = [b"%d" % number for number in range(100)]
    assert [message async for message in both(iter(numbers), timeout=30)] == numbers


@pytest.mark.parametrize("count", [0, 1, 100])
async def test_any_number_of_messages_each_way(chain: Chain, count: int) -> None:
    async def many(seen: Seen, context: Context) -> None:
        async for _ in requests(seen, context):
            pass
        for number in range(count):
            await context.write(b"%d" % number)

    chain.raw.behaviours[STREAM] = many
    call = chain.stream(STREAM)
    for number in range(count):
        await call.write(b"%d" % number)
    await call.done_writing()
    assert await all_of(call) == [b"%d" % number for number in range(count)]
    assert chain.raw.seen[0].messages == [b"%d" % number for number in range(count)]
    assert await call.code() is StatusCode.OK


async def test_messages_are_interleaved_as_the_two_sides_send_them(chain: Chain) -> None:
    call = chain.stream(STREAM)
    for number in range(50):
        await call.write(b"%d" % number)
        assert await call.read() == b"%d" % number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_half_close_waits_for_the_caller_and_the_answer_does_not(chain: Chain) -> None:
    half_closed = asyncio.Event()

    async def late(seen: Seen, context: Context) -> None:
        await context.write(b"before")
        async for _ in requests(seen, context):
            pass
        half_closed.set()
        await context.write(b"after")

    chain.raw.behaviours[STREAM] = late
    call = chain.stream(STREAM)
    assert await call.read() == b"before"
    await call.write(b"one more")
    await until(lambda: chain.raw.seen[0].messages == [b"one more"])
    assert not half_closed.is_set()
    await call.done_writing()
    assert await call.read() == b"after"
    assert await call.read() is grpc.aio.EOF


async def test_upstream_may_end_the_call_before_it_has_read_everything(chain: Chain) -> None:
    async def enough(seen: Seen, context: Context) -> None:
        async for _ in requests(seen, context):
            break
        await context.abort(StatusCode.OUT_OF_RANGE, "enough", RICH)

    chain.raw.behaviours[STREAM] = enough
    call = chain.stream(STREAM)
    await call.write(b"1")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await all_of(call)
    assert (raised.value.code(), raised.value.details()) == (StatusCode.OUT_OF_RANGE, "enough")


async def test_the_status_of_a_call_that_upstream_ends_while_the_caller_writes_passes(grpcio_chain: Chain) -> None:
    chain = grpcio_chain

    async def enough(seen: Seen, context: Context) -> None:
        async for _ in requests(seen, context):
            break
        await context.abort(StatusCode.OUT_OF_RANGE, "enough")

    async def write(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        while True:
            await call.write(b"x" * 5000)

    chain.raw.behaviours[STREAM] = enough
    for _ in range(100):
        call = chain.stream(STREAM)
        writing = asyncio.ensure_future(write(call))
        await call.code()
        await asyncio.wait([writing])
        assert writing.exception() is not None
    # The caller's status is not compared, because its own grpc.aio may replace it by INTERNAL.
    await until(lambda: len(chain.recorder.server) == 100)
    assert set(chain.recorder.server) == {(STREAM, StatusCode.OUT_OF_RANGE)}


@BOTH_KINDS
async def test_64_mib_pass_each_way(chain: Chain, method: str) -> None:
    body = bytes(range(256)) * (64 * 1024 * 1024 // 256)
    assert await chain.unary(method, body, timeout=90) == body


@BOTH_KINDS
async def test_metadata_passes_both_ways(chain: Chain, method: str) -> None:
    initial: Metadata = (("i", "1"), ("i", "2"), ("i-bin", b"\x00\xff"), ("i-bin", b""))

    async def with_metadata(seen: Seen, context: Context) -> None:
        await context.send_initial_metadata(initial)
        await echo(seen, context)
        context.set_trailing_metadata(RICH)

    chain.raw.behaviours[method] = with_metadata
    sent: Metadata = (("k", "1"), ("k", "2"), ("k-bin", b"\x00\xff"), ("k-bin", b""), ("authorization", "Bearer x"))
    call = chain.unary(method, b"q", sent)
    assert await call == b"q"
    assert without_date(await call.initial_metadata()) == initial
    assert tuple(await call.trailing_metadata()) == RICH
    assert sorted(pair for pair in chain.raw.seen[0].metadata if pair[0] != "user-agent") == sorted(sent)


@BOTH_KINDS
async def test_metadata_of_one_connection_stays_on_it(grpcio_chain: Chain, method: str) -> None:
    """Only on grpcio: Envoy refuses such a call, as RFC 9113 (8.2.2) demands."""

    async def with_metadata(seen: Seen, context: Context) -> None:
        await context.send_initial_metadata((("i", "1"), ("connection", "close")))
        await echo(seen, context)
        context.set_trailing_metadata((("t", "1"), ("connection", "close")))

    grpcio_chain.raw.behaviours[method] = with_metadata
    call = grpcio_chain.unary(method, b"q", (("k", "1"), ("host", "h"), ("connection", "close")))
    assert await call == b"q"
    assert tuple(await call.initial_metadata()) == (("i", "1"),)
    assert tuple(await call.trailing_metadata()) == (("t", "1"),)
    assert [pair for pair in grpcio_chain.raw.seen[0].metadata if pair[0] != "user-agent"] == [("k", "1")]


@BOTH_KINDS
async def test_nothing_of_ours_is_added(chain: Chain, method: str) -> None:
    call = chain.unary(method, b"q")
    assert await call == b"q"
    assert without_date(await call.initial_metadata()) == tuple(await call.trailing_metadata()) == ()
    assert await call.details() == ""
    assert {key for key, _ in chain.raw.seen[0].metadata} == {"user-agent"}  # gRPC's core writes it


@BOTH_KINDS
@pytest.mark.parametrize("initial", [(), (("i", "1"),)])
async def test_a_failure_passes_whole(chain: Chain, method: str, initial: Metadata) -> None:
    async def fail(seen: Seen, context: Context) -> None:
        if initial:
            await context.send_initial_metadata(initial)
        async for _ in requests(seen, context):
            pass
        await context.abort(StatusCode.FAILED_PRECONDITION, "détails\n%", RICH)

    chain.raw.behaviours[method] = fail
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await chain.unary(method)
    error = raised.value
    assert (error.code(), error.details()) == (StatusCode.FAILED_PRECONDITION, "détails\n%")
    assert without_date(error.trailing_metadata()) == RICH
    assert without_date(error.initial_metadata()) == initial


async def test_messages_before_a_failure_pass(chain: Chain) -> None:
    async def fail_late(seen: Seen, context: Context) -> None:
        await context.write(b"1")
        await context.write(b"2")
        await context.abort(StatusCode.DATA_LOSS, "lost", RICH)

    chain.raw.behaviours[STREAM] = fail_late
    call = chain.stream(STREAM)
    assert [await call.read(), await call.read()] == [b"1", b"2"]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert (raised.value.code(), tuple(raised.value.trailing_metadata())) == (StatusCode.DATA_LOSS, RICH)


async def test_initial_metadata_that_comes_together_with_a_failure_passes() -> None:
    first = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"i", b"1")]
    answer = headers(1, first) + headers(1, [(b"grpc-status", b"10"), (b"t", b"2")], END_STREAM)
    async with Http2Server(answer).serving() as server, Chain(target=f"127.0.0.1:{server.port}") as chain:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await chain.unary(STREAM, b"q")
    assert raised.value.code() is StatusCode.ABORTED
    assert tuple(raised.value.initial_metadata()) == (("i", "1"),)
    assert tuple(raised.value.trailing_metadata()) == (("t", "2"),)


@pytest.mark.parametrize("initial", [(), (("i", "1"),)])
async def test_initial_metadata_is_passed_on_as_soon_as_it_comes(chain: Chain, initial: Metadata) -> None:
    """Callers may wait for it before they send anything, even if it is empty."""

    async def headers_first(seen: Seen, context: Context) -> None:
        await context.send_initial_metadata(initial)
        await echo(seen, context)

    chain.raw.behaviours[STREAM] = headers_first
    call = chain.stream(STREAM)
    assert without_date(await asyncio.wait_for(call.initial_metadata(), 20)) == initial
    assert not call.done()
    await call.done_writing()
    assert await all_of(call) == []


@BOTH_KINDS
async def test_a_callers_retry_policy_still_works(chain_of: Chain, method: str) -> None:
    """A header frame from the proxy would end the retries, because it tells the client that the call took effect."""
    policy = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
    config = {"methodConfig": [{"name": [{}], "retryPolicy": {**policy, "retryableStatusCodes": ["UNAVAILABLE"]}}]}

    async def unavailable(seen: Seen, context: Context) -> None:
        await context.abort(StatusCode.UNAVAILABLE, "try again")

    chain_of.channel_options = (("grpc.service_config", json.dumps(config)),)
    async with chain_of as chain:
        chain.raw.behaviours[method] = unavailable
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await chain.unary(method)
        assert raised.value.code() is StatusCode.UNAVAILABLE
        assert chain.raw.count(method) == 3


async def test_metadata_that_cannot_be_forwarded_is_the_callers_fault(grpcio_chain: Chain) -> None:
    chain = grpcio_chain
    for method in (STREAM, UNARY):
        answer = await http2_call(chain.port, method.encode(), [(b"k", "ü".encode())])
        assert b"grpc-status\x013" in answer  # INVALID_ARGUMENT
        assert b"request metadata 'k' cannot be forwarded: not legal in gRPC" in answer
    assert chain.raw.seen == []
