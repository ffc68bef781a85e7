"""proxy.transport.server: routes, limits, failures and the life of the listener, over real sockets."""

import asyncio
from typing import cast

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.media.calls import Call, Handler, Metadata, Reply
from proxy.transport.admission import Admission
from proxy.transport.server import UPLOADS_AT_ONCE, _finish
from tests.raw_http2 import PING, pinged
from tests.raw_http2 import call as http2_call
from tests.raw_upstream import Chain, Context, Held, status_of
from tests.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
FORWARDED = "/media.MediaService/GetFileURL"


def answers(reply: Reply, calls: list[Call] | None = None) -> Handler:
    async def handler(call: Call) -> Reply:
        if calls is not None:
            calls.append(call)
        return reply

    return handler


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


async def test_an_unexpected_exception_is_logged_and_callers_learn_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(call: Call) -> Reply:
        raise RuntimeError("password=hunter2")

    async with Chain(routes={METHOD: fails}) as chain:
        status = await status_of(chain.unary(METHOD))
        assert status == (StatusCode.INTERNAL, "internal error in the proxy; its log says more")
        assert chain.recorder.server == [(METHOD, StatusCode.INTERNAL)]
    (record,) = (record for record in caplog.records if record.name == "proxy.transport.server")
    assert record.getMessage() == f"{METHOD} failed"
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


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
    """gRPC tells of it by failing to send; as an exception of its own that would be logged with a traceback."""

    class Gone:
        async def abort(self, *_: object) -> None:
            raise grpc.aio.InternalError

        send_initial_metadata = abort

    with pytest.raises(asyncio.CancelledError):
        await _finish(cast("Context", Gone()), reply)


async def test_what_is_above_the_limit_is_refused_until_there_is_room() -> None:
    held = Held()
    refused = (StatusCode.RESOURCE_EXHAUSTED, "the proxy serves at most 2 calls at once (MAX_CONCURRENT_CALLS)")
    async with Chain(routes={METHOD: held}, admission=Admission(2)) as chain:
        calls = [asyncio.ensure_future(status_of(chain.unary(METHOD))) for _ in range(2)]
        await until(lambda: held.arrived == 2)
        for method in (METHOD, FORWARDED, "/any.Service/Anything"):
            assert await status_of(chain.unary(method)) == refused
        assert chain.raw.seen == []
        held.release.set()
        assert await asyncio.gather(*calls) == [(StatusCode.OK, "")] * 2
        assert await status_of(chain.unary(FORWARDED)) == (StatusCode.OK, "")
        assert chain.recorder.server.count((METHOD, StatusCode.RESOURCE_EXHAUSTED)) == 1


async def test_callers_that_send_nothing_count_and_give_their_place_back() -> None:
    async with Chain(admission=Admission(1)) as chain:
        silent = chain.stream(UPLOAD)
        await until(lambda: chain.admission.in_progress == 1)
        assert (await status_of(chain.unary(FORWARDED)))[0] is StatusCode.RESOURCE_EXHAUSTED
        silent.cancel()
        await until(lambda: chain.admission.in_progress == 0)
        assert await status_of(chain.unary(FORWARDED)) == (StatusCode.OK, "")


async def test_uploads_that_are_not_read_yet_wait_for_room_and_small_ones_take_little() -> None:
    held = Held()
    async with Chain(routes={UPLOAD: held, METHOD: answers(Reply(b"read"))}) as chain:
        silent = [chain.stream(UPLOAD) for _ in range(2)]  # either may yet be of the largest size
        await until(lambda: chain.admission.in_progress == 2)
        waiting = [asyncio.ensure_future(status_of(chain.unary(UPLOAD, b"small", timeout=60))) for _ in range(5)]
        await until(lambda: chain.admission.in_progress == 7)
        assert await chain.unary(METHOD) == b"read"
        assert held.arrived == 0
        silent[0].cancel()
        await until(lambda: held.arrived == 5)
        held.release.set()
        assert await asyncio.gather(*waiting) == [(StatusCode.OK, "")] * 5
        silent[1].cancel()
        await until(lambda: chain.admission.in_progress == 0)
        assert chain.listener._layers._uploads.left == UPLOADS_AT_ONCE


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


async def test_each_call_is_observed_once_with_its_code() -> None:
    async with Chain(routes={METHOD: answers(Reply(code=StatusCode.DATA_LOSS))}) as chain:
        await status_of(chain.unary(METHOD))
        await status_of(chain.unary(FORWARDED))
        await status_of(chain.unary("/any.Service/Anything"))
        seen = [(FORWARDED, StatusCode.OK), ("/any.Service/Anything", StatusCode.OK)]
        assert chain.recorder.server == [(METHOD, StatusCode.DATA_LOSS), *seen]
        assert chain.recorder.client == seen
        assert all(seconds > 0 for seconds in chain.recorder.seconds)


async def test_callers_may_ping_as_often_as_they_like() -> None:
    async with Chain() as chain:
        assert await pinged(chain.port, 20) == [PING] * 20


async def test_large_metadata_passes() -> None:
    large: Metadata = (("large", "x" * 200_000),)
    async with Chain(routes={METHOD: answers(Reply(b"", trailing_metadata=large))}) as chain:
        call = chain.unary(METHOD, metadata=large)
        await call
        assert tuple(await call.trailing_metadata()) == large
