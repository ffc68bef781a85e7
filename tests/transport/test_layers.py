"""Limits, failures and uploads, and what is recorded of a call, over real sockets."""

import asyncio

import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Reply
from proxy.transport.admission import Admission
from proxy.transport.layers import UPLOADS_AT_ONCE
from tests.support.raw_upstream import Chain, Held, answers, status_of
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
FORWARDED = "/media.MediaService/GetFileURL"


async def test_an_unexpected_exception_is_logged_and_callers_learn_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(call: Call) -> Reply:
        raise RuntimeError("password=hunter2")

    async with Chain(routes={METHOD: fails}) as chain:
        status = await status_of(chain.unary(METHOD))
        assert status == (StatusCode.INTERNAL, "internal error in the proxy; see its log")
        # A call is recorded only after its caller has the answer.
        await until(lambda: chain.recorder.server == [(METHOD, StatusCode.INTERNAL)], "the call to be recorded")
    (record,) = (record for record in caplog.records if record.name == "proxy.transport.layers")
    assert record.getMessage() == f"{METHOD} failed"
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


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
        await until(lambda: chain.recorder.server.count((METHOD, StatusCode.RESOURCE_EXHAUSTED)) == 1, "the record")


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
        silent = [chain.stream(UPLOAD) for _ in range(2)]  # either may still turn out to have the maximum size
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


async def test_each_call_is_observed_once_with_its_code() -> None:
    async with Chain(routes={METHOD: answers(Reply(code=StatusCode.DATA_LOSS))}) as chain:
        await status_of(chain.unary(METHOD))
        await status_of(chain.unary(FORWARDED))
        await status_of(chain.unary("/any.Service/Anything"))
        seen = [(FORWARDED, StatusCode.OK), ("/any.Service/Anything", StatusCode.OK)]
        await until(lambda: chain.recorder.server == [(METHOD, StatusCode.DATA_LOSS), *seen], "the calls' records")
        assert chain.recorder.client == seen
        assert all(seconds > 0 for seconds in chain.recorder.seconds)
