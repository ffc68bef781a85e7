"""Routes, and what passes between a caller and a handler, over real sockets."""

import asyncio
from typing import cast

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Metadata, Reply
from proxy.transport.server import _finish
from tests.support.raw_http2 import PING, pinged
from tests.support.raw_http2 import call as http2_call
from tests.support.raw_upstream import Chain, Context, Held, answers
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
FORWARDED = "/media.MediaService/GetFileURL"


async def test_a_route_gets_the_call_as_it_came() -> None:
    calls: list[Call] = []
    async with Chain(routes={METHOD: answers(Reply(b"answer"), calls)}) as chain:
        sent: Metadata = (("k", "1"), ("k", "2"), ("k-bin", b"\x00\xff"))
        assert await chain.unary(METHOD, b"\x00ask", sent, timeout=20) == b"answer"
        assert chain.raw.seen == []
    (call,) = calls
    assert (call.method, call.body) == (METHOD, b"\x00ask")
    assert isinstance(call.metadata, tuple)
    assert [pair for pair in call.metadata if pair[0] != "user-agent"] == list(sent)


async def test_a_route_sees_the_deadline_in_force() -> None:
    calls: list[Call] = []
    routes = {METHOD: answers(Reply(b""), calls), UPLOAD: answers(Reply(b""), calls)}
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with Chain(routes=routes, call_timeout=60) as chain:
        await chain.unary(METHOD, timeout=20)
        await chain.unary(METHOD, timeout=None)
        await chain.unary(UPLOAD, timeout=20)
        await chain.unary(UPLOAD, timeout=None)
    async with Chain(routes=routes, call_timeout=0) as chain:
        await chain.unary(METHOD, timeout=None)
    left = [None if call.deadline is None else call.deadline - before for call in calls]
    given, ours, upload, *without = left
    assert given is not None
    assert 0 < given < 20 + (loop.time() - before) + 1
    assert ours is not None
    assert 60 <= ours < 60 + (loop.time() - before)
    assert upload is not None
    assert upload < 40
    assert without == [None, None]


async def test_a_reply_is_written_whole() -> None:
    reply = Reply(b"answer", initial_metadata=(("i", "1"), ("i", "2")), trailing_metadata=(("x-cache", "hit"),))
    async with Chain(routes={METHOD: answers(reply)}) as chain:
        call = chain.unary(METHOD)
        assert await call == b"answer"
        assert tuple(await call.initial_metadata()) == reply.initial_metadata
        assert tuple(await call.trailing_metadata()) == reply.trailing_metadata


async def test_a_failure_is_written_whole() -> None:
    rich: Metadata = (("grpc-status-details-bin", b"\x08\x05"), ("x-cache", "miss"), ("x-cache", "again"))
    reply = Reply(None, StatusCode.NOT_FOUND, "nowhere", (("i", "1"),), rich)
    async with Chain(routes={METHOD: answers(reply)}) as chain:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await chain.unary(METHOD)
    error = raised.value
    assert (error.code(), error.details()) == (StatusCode.NOT_FOUND, "nowhere")
    assert (tuple(error.initial_metadata()), tuple(error.trailing_metadata())) == (reply.initial_metadata, rich)


@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "deadline"])
async def test_the_handler_is_cancelled_with_the_call(cancel: bool) -> None:
    held = Held()
    async with Chain(routes={METHOD: held}) as chain:
        call = chain.unary(METHOD, timeout=30 if cancel else 0.3)
        await until(lambda: held.arrived)
        if cancel:
            call.cancel()
        await until(lambda: held.ended == ["cancelled"])
        await until(lambda: chain.recorder.server == [(METHOD, StatusCode.CANCELLED)])
        assert chain.admission.in_progress == 0


@pytest.mark.parametrize("reply", [Reply(code=StatusCode.ABORTED), Reply(b"", initial_metadata=(("i", "1"),))])
async def test_a_caller_that_is_gone_before_its_answer_is_no_error(reply: Reply) -> None:
    """gRPC then fails to send. If the exception escaped, it would be logged with a traceback."""

    class Gone:
        async def abort(self, *_: object) -> None:
            raise grpc.aio.InternalError

        send_initial_metadata = abort

    with pytest.raises(asyncio.CancelledError):
        await _finish(cast("Context", Gone()), reply)


async def test_a_unary_call_without_a_request_is_refused() -> None:
    async with Chain(routes={METHOD: answers(Reply(b""))}) as chain:
        call = chain.stream(METHOD)
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    assert raised.value.code() is StatusCode.UNIMPLEMENTED
    assert raised.value.details() == "a unary call needs exactly one request message"


@pytest.mark.parametrize(
    "path", [b"", b"/", b"*", b"/service", b"service/method", b"//method", b"/service/", b"/a b/c"]
)
async def test_a_path_that_is_no_service_and_method_is_unimplemented(path: bytes) -> None:
    async with Chain() as chain:
        assert b"grpc-status\x0212" in await http2_call(chain.port, path)  # UNIMPLEMENTED
        assert chain.raw.seen == []


async def test_callers_may_ping_as_often_as_they_like() -> None:
    async with Chain() as chain:
        assert await pinged(chain.port, 20) == [PING] * 20


async def test_large_metadata_passes() -> None:
    large: Metadata = (("large", "x" * 200_000),)
    async with Chain(routes={METHOD: answers(Reply(b"", trailing_metadata=large))}) as chain:
        call = chain.unary(METHOD, metadata=(("large", "x" * 60_000),))
        await call
        assert tuple(await call.trailing_metadata()) == large
