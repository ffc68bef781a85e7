"""What is refused or cut off so that memory stays bounded (I8), over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from grpc import StatusCode

from proxy.calls.call import Call, Metadata, Reply
from proxy.transport import layers
from proxy.transport.admission import Admission
from proxy.transport.limits import Limits
from tests.support.raw_upstream import Chain, Context, Held, Seen, all_of, requests, status_of, unary
from tests.support.servers.waiting import until

METHOD = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
FORWARDED = "/media.MediaService/GetFileURL"
STREAM = "/any.Service/Anything"
MIB = 1 << 20
SMALL = Limits(bytes_in_flight=MIB)
FULL = (
    StatusCode.RESOURCE_EXHAUSTED,
    "the proxy holds at most 1048576 bytes of large messages at once (MAX_BYTES_IN_FLIGHT)",
)


async def big(call: Call) -> Reply:
    return Reply(bytes(MIB * 3 // 4))


def large_left(chain: Chain) -> int:
    return chain.listener._layers.large.left


async def test_large_requests_that_find_too_many_bytes_are_refused_and_small_ones_are_not() -> None:
    held = Held()
    async with Chain(routes={METHOD: held}, limits=SMALL) as chain:
        first = asyncio.ensure_future(status_of(chain.unary(METHOD, bytes(MIB * 3 // 4))))
        await until(lambda: held.arrived == 1)
        assert await status_of(chain.unary(METHOD, bytes(MIB // 2))) == FULL
        assert await status_of(chain.unary(FORWARDED, bytes(MIB // 2))) == FULL
        assert await status_of(chain.unary(FORWARDED, b"small")) == (StatusCode.OK, "")
        held.release.set()
        assert await first == (StatusCode.OK, "")
        await until(lambda: large_left(chain) == MIB)
        assert chain.raw.count(FORWARDED) == 1


async def test_an_answer_counts_until_its_caller_has_taken_it() -> None:
    async with Chain(routes={METHOD: big}, limits=SMALL) as chain:
        call = chain.stream(METHOD)  # occupies nothing before it reads
        await call.write(b"q")
        await call.done_writing()
        await until(lambda: large_left(chain) == MIB // 4)
        assert await status_of(chain.unary(METHOD)) == FULL
        await until(lambda: chain.admission.in_progress == 1)
        assert [len(message) for message in await all_of(call)] == [MIB * 3 // 4]
        await until(lambda: large_left(chain) == MIB)
        assert await status_of(chain.unary(METHOD)) == (StatusCode.OK, "")
        await until(lambda: chain.admission.in_progress == 0)


async def test_a_caller_that_is_gone_gives_back_the_bytes_and_the_place() -> None:
    async with Chain(routes={METHOD: big}, limits=SMALL) as chain:
        call = chain.stream(METHOD)
        await call.write(b"q")
        await call.done_writing()
        await until(lambda: large_left(chain) == MIB // 4)
        call.cancel()
        await until(lambda: large_left(chain) == MIB and chain.admission.in_progress == 0)


@pytest.mark.parametrize("from_caller", [True, False])
async def test_a_stream_whose_message_finds_too_many_bytes_ends_and_the_others_go_on(from_caller: bool) -> None:
    holding = asyncio.Event()

    async def upstream(seen: Seen, context: Context) -> None:
        """Reads no messages after the first, or sends some that nobody reads."""
        messages: AsyncIterator[bytes] = requests(seen, context)
        assert await anext(messages) == b"go"
        await context.write(b"gone")
        if not from_caller:
            await context.write(bytes(MIB * 3 // 4))
        await holding.wait()

    async with Chain(limits=SMALL) as chain:
        chain.raw.behaviours[STREAM] = upstream
        first, second = chain.stream(STREAM), chain.stream(STREAM)
        writing = None
        for call in (first, second):
            await call.write(b"go")
            assert await call.read() == b"gone"
            if from_caller:
                writing = asyncio.ensure_future(call.write(bytes(MIB * 3 // 4)))
            await until(lambda: large_left(chain) == MIB // 4)
        # The second caller's status is not compared while it writes: its own grpc.aio may replace it by INTERNAL.
        await until(lambda: (STREAM, StatusCode.RESOURCE_EXHAUSTED) in chain.recorder.server)
        assert not first.done()
        if writing is not None:
            await asyncio.wait([writing])
            writing.exception()
        else:
            assert (await second.code(), await second.details()) == FULL
        first.cancel()
        await until(lambda: large_left(chain) == MIB and chain.admission.in_progress == 0)


async def test_uploads_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_UPLOAD_WAITS", 0.1)
    async with Chain() as chain:
        silent = [chain.stream(UPLOAD) for _ in range(2)]
        await until(lambda: chain.admission.in_progress == 2)
        code, details = await status_of(chain.unary(UPLOAD, b"small"))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert details.startswith(
            "uploads in progress use 104857600 of 134217728 bytes, and 52428800 more did not become free"
        )
        assert details.endswith("(an upload counts as 52428800 until it has arrived)")
        for call in silent:
            call.cancel()
        await until(lambda: chain.admission.in_progress == 0)
        assert await status_of(chain.unary(UPLOAD, b"small")) == (StatusCode.OK, "")


@pytest.mark.parametrize("method", [METHOD, FORWARDED, UPLOAD])
async def test_a_caller_without_a_deadline_that_sends_no_request_is_cut(method: str) -> None:
    async with Chain(routes={METHOD: big}, call_timeout=0.1) as chain:
        call = chain.stream(method, timeout=None)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert (raised.value.code(), raised.value.details()) == (
            StatusCode.DEADLINE_EXCEEDED,
            "no request came within CALL_TIMEOUT",
        )
        await until(lambda: chain.admission.in_progress == 0)
        assert chain.listener._layers._uploads.left == layers.UPLOADS_AT_ONCE


async def test_too_much_metadata_is_refused_and_none_of_it_goes_upstream() -> None:
    many: Metadata = tuple((f"k{number}", "v") for number in range(300))
    large: Metadata = tuple((f"k{number}", "v" * 4000) for number in range(20))
    async with Chain() as chain:
        for metadata in (many, large):
            for method in (FORWARDED, STREAM):
                code, _ = await status_of(chain.unary(method, b"q", metadata))
                assert code is StatusCode.RESOURCE_EXHAUSTED
        assert await status_of(chain.unary(FORWARDED, b"q", many[:200])) == (StatusCode.OK, "")
        assert chain.raw.count(FORWARDED) == 1
        assert chain.raw.count(STREAM) == 0


async def test_a_message_that_is_too_long_is_refused_and_one_that_is_not_passes() -> None:
    async with Chain(limits=Limits(message_bytes=2 * MIB)) as chain:
        code, details = await status_of(chain.unary(FORWARDED, bytes(2 * MIB + 1)))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max (2097153 vs. 2097152)" in details
        assert await status_of(chain.unary(FORWARDED, bytes(2 * MIB))) == (StatusCode.OK, "")


@pytest.mark.parametrize("compressed", [False, True])
async def test_compressed_messages_are_taken_where_they_are_asked_for(compressed: bool) -> None:
    async with Chain(limits=Limits(compressed=compressed)) as chain:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = chain.channel.unary_unary(FORWARDED)
        call = method(bytes(100_000), compression=grpc.Compression.Gzip, timeout=30)
        code, _ = await status_of(call)
        assert code is (StatusCode.OK if compressed else StatusCode.UNIMPLEMENTED)
        assert chain.raw.count(FORWARDED) == compressed


async def test_what_is_above_a_connections_share_waits_and_another_connection_does_not() -> None:
    held = Held()
    async with Chain(routes={METHOD: held}, limits=Limits(calls_per_connection=3)) as chain:
        calls = [asyncio.ensure_future(status_of(chain.unary(METHOD))) for _ in range(5)]
        await until(lambda: held.arrived == 3)
        async with chain.connect() as other:
            assert await status_of(unary(other, FORWARDED)) == (StatusCode.OK, "")
        assert held.arrived == 3
        held.release.set()
        assert await asyncio.gather(*calls) == [(StatusCode.OK, "")] * 5


async def test_a_caller_with_as_many_calls_as_its_connection_takes_loses_none() -> None:
    async with Chain(limits=Limits(calls_per_connection=20)) as chain:

        async def one_after_the_other() -> list[tuple[StatusCode, str]]:
            return [await status_of(chain.unary(FORWARDED)) for _ in range(10)]

        outcomes = await asyncio.gather(*(one_after_the_other() for _ in range(40)))
        assert {outcome for caller in outcomes for outcome in caller} == {(StatusCode.OK, "")}


async def test_a_connection_that_takes_every_place_leaves_one_for_another() -> None:
    held = Held()
    async with Chain(routes={METHOD: held}, admission=Admission(20)) as chain:
        calls = [asyncio.ensure_future(status_of(chain.unary(METHOD))) for _ in range(50)]
        await until(lambda: len(chain.recorder.server) == 31)
        assert chain.admission.in_progress == 19
        async with chain.connect() as other:
            assert await status_of(unary(other, FORWARDED)) == (StatusCode.OK, "")
        held.release.set()
        codes = [code for code, _ in await asyncio.gather(*calls)]
        assert (codes.count(StatusCode.OK), codes.count(StatusCode.RESOURCE_EXHAUSTED)) == (19, 31)
