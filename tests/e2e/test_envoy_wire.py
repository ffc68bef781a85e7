"""TRANSPORT=envoy on the wire: limits, deadlines, targets, what the core's methods do with odd callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc import StatusCode

from tests.support.envoy_chain import EnvoyChain, envoy_of, without_date
from tests.support.raw_http2 import DATA, END_STREAM, HEADERS, frame, headers
from tests.support.raw_http2 import call as http2_call
from tests.support.raw_upstream import BIG, Context, RawUpstream, Seen, requests, status_of, unary
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

READ = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
FORWARDED = "/media.MediaService/GetFileURL"
STREAM = "/any.Service/Anything"


@pytest.fixture
async def chain(envoy_process: ProxyProcess) -> AsyncIterator[EnvoyChain]:
    async with EnvoyChain(proxy=envoy_process) as chain:
        yield chain


@pytest.fixture
async def core(chain: EnvoyChain) -> EnvoyChain:
    """Once the core has noticed that upstream is there: unlike Envoy it does not connect for each call."""

    async def works() -> bool:
        return (await status_of(chain.unary(UPLOAD)))[0] is StatusCode.OK

    await until(works, "the core to be connected")
    chain.raw.seen.clear()
    return chain


@asynccontextmanager
async def proxied(**settings: str) -> AsyncIterator[tuple[RawUpstream, ProxyProcess, grpc.aio.Channel]]:
    """An upstream, a proxy with these settings before it, and a caller."""
    async with RawUpstream() as upstream:
        given = {"MEDIA_SERVICE_ADDR": upstream.address, **settings}
        async with ProxyProcess(TRANSPORT="envoy", **given) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as caller:
                yield upstream, proxy, caller


async def hangs(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        pass
    await asyncio.Event().wait()


@pytest.mark.parametrize("method", [READ, FORWARDED, STREAM])
async def test_what_is_above_the_limit_is_refused_with_the_same_words(method: str) -> None:
    refused = (StatusCode.RESOURCE_EXHAUSTED, "the proxy serves at most 2 calls at once (MAX_CONCURRENT_CALLS)")
    async with proxied(MAX_CONCURRENT_CALLS="2", CACHE_MODE="off") as (upstream, _, caller):
        upstream.behaviours[method] = hangs
        calls = [asyncio.ensure_future(status_of(unary(caller, method))) for _ in range(2)]
        await until(lambda: upstream.count(method) == 2)
        assert await status_of(unary(caller, method)) == refused
        for call in calls:
            call.cancel()


async def test_unary_calls_without_a_deadline_end_by_ours_and_all_others_do_not() -> None:
    async with proxied(CALL_TIMEOUT="300ms", CACHE_MODE="off") as (upstream, _, caller):
        for method in (READ, UPLOAD, FORWARDED, STREAM):
            upstream.behaviours[method] = hangs
        lasting = [asyncio.ensure_future(status_of(unary(caller, method, timeout=None))) for method in (UPLOAD, STREAM)]
        for method in (READ, FORWARDED):
            code, _ = await status_of(unary(caller, method, timeout=None))
            assert code is StatusCode.DEADLINE_EXCEEDED
        assert not any(call.done() for call in lasting)
        for call in lasting:
            call.cancel()


@pytest.mark.parametrize("method", [READ, UPLOAD])
@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "deadline"])
async def test_a_call_of_the_core_ends_upstream_with_its_caller(core: EnvoyChain, method: str, cancel: bool) -> None:
    core.raw.behaviours[method] = hangs
    call = asyncio.ensure_future(status_of(core.unary(method, timeout=30 if cancel else 0.5)))
    await until(lambda: core.raw.seen)
    if cancel:
        call.cancel()
    else:
        assert (await call)[0] is StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(core.raw.seen[0].cancelled.wait(), 30)


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.FAILED_PRECONDITION])
async def test_a_call_of_the_core_passes_whole(core: EnvoyChain, code: StatusCode) -> None:
    trailing = (("why", "1"), ("why", "2"), ("w-bin", b"\xff"))

    async def rich(seen: Seen, context: Context) -> None:
        if code is not StatusCode.OK:
            await context.abort(code, "détails\n%", trailing)
        await context.send_initial_metadata((("i", "1"), ("i-bin", b"\x00\xff")))
        async for message in requests(seen, context):
            await context.write(message)
        context.set_trailing_metadata(trailing)

    core.raw.behaviours[UPLOAD] = rich
    sent = (("k", "1"), ("k", "2"), ("k-bin", b"\x00\xff"), ("authorization", "Bearer x"))
    call = core.unary(UPLOAD, b"q", sent)
    if code is StatusCode.OK:
        assert await call == b"q"
        assert without_date(await call.initial_metadata()) == (("i", "1"), ("i-bin", b"\x00\xff"))
    assert (await call.code(), await call.details()) == (code, "" if code is StatusCode.OK else "détails\n%")
    assert without_date(await call.trailing_metadata()) == trailing
    assert sorted(pair for pair in core.raw.seen[0].metadata if pair[0] != "user-agent") == sorted(sent)


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("accepted", ["on", "off"])
async def test_a_caller_may_compress_where_that_is_accepted(algorithm: grpc.Compression, accepted: str) -> None:
    body = b"again " * 1000
    async with proxied(ACCEPT_COMPRESSED=accepted) as (upstream, _, caller):
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = caller.unary_unary(UPLOAD)
        code, _ = await status_of(method(body, compression=algorithm, timeout=30))
        assert code is (StatusCode.OK if accepted == "on" else StatusCode.UNIMPLEMENTED)
        assert [seen.messages for seen in upstream.seen] == [[body]] * (accepted == "on")


async def test_too_much_metadata_is_refused_by_the_core_and_far_too_much_is_reset(chain: EnvoyChain) -> None:
    for metadata in (
        tuple((f"k{number}", "v") for number in range(300)),
        tuple((f"k{number}", "v" * 1000) for number in range(80)),
    ):
        code, details = await status_of(chain.unary(READ, metadata=metadata))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert "MAX_METADATA_BYTES" in details
    assert chain.raw.seen == []
    beside = chain.stream(STREAM)
    await beside.write(b"1")
    assert await beside.read() == b"1"
    for method in (READ, FORWARDED):
        code, _ = await status_of(chain.unary(method, metadata=tuple((f"k{each}", "v") for each in range(2000))))
        assert code is StatusCode.INTERNAL
    await beside.write(b"2")
    assert await beside.read() == b"2"
    assert len(chain.raw.seen) == 1
    beside.cancel()


async def test_callers_of_the_core_with_two_messages_or_none_are_told(core: EnvoyChain) -> None:
    chain = core
    call = chain.stream(UPLOAD)
    for message in (b"1", b"2"):
        await call.write(message)
    assert await call.code() is StatusCode.UNIMPLEMENTED
    assert await call.details() == "a unary call needs exactly one request message"
    call = chain.stream(UPLOAD)
    await call.done_writing()
    assert await call.code() is StatusCode.UNIMPLEMENTED


async def test_instructions_for_an_envoy_are_none_for_ours(chain: EnvoyChain) -> None:
    async def unavailable(seen: Seen, context: Context) -> None:
        await context.abort(StatusCode.UNAVAILABLE, "no")

    chain.raw.behaviours[STREAM] = unavailable
    orders = (
        ("x-envoy-retry-grpc-on", "unavailable"),
        ("x-envoy-max-retries", "5"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
    )
    assert (await status_of(chain.unary(STREAM, metadata=orders)))[0] is StatusCode.UNAVAILABLE
    assert chain.raw.count(STREAM) == 1


@pytest.mark.parametrize("path", [b"/", b"*", b"/service", b"service/method", b"//method", b"/service/"])
async def test_a_path_that_is_no_service_and_method_is_not_forwarded(chain: EnvoyChain, path: bytes) -> None:
    assert await http2_call(chain.port, path)
    assert chain.raw.seen == []


@pytest.mark.parametrize("target", ["localhost:{0}", "dns:///localhost:{0}", "ipv4:127.0.0.1:{1},127.0.0.1:{0}"])
async def test_upstream_is_found_by_name_and_behind_a_dead_address(target: str) -> None:
    async with RawUpstream() as upstream:
        address = target.format(upstream.port, free_port())
        async with ProxyProcess(TRANSPORT="envoy", MEDIA_SERVICE_ADDR=address) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr) as caller:
                for method in (READ, FORWARDED, STREAM):
                    assert await status_of(unary(caller, method)) == (StatusCode.OK, "")


async def test_upstream_may_be_a_unix_socket(tmp_path: Path) -> None:
    upstream = RawUpstream()
    server = grpc.aio.server(handlers=[upstream])
    server.add_insecure_port(f"unix:{tmp_path}/media.sock")
    await server.start()
    async with ProxyProcess(TRANSPORT="envoy", MEDIA_SERVICE_ADDR=f"unix:{tmp_path}/media.sock") as proxy:
        async with grpc.aio.insecure_channel(proxy.addr) as caller:
            for method in (UPLOAD, FORWARDED, STREAM):
                assert await status_of(unary(caller, method)) == (StatusCode.OK, "")
    await server.stop(None)


async def test_upstream_is_used_again_soon_after_its_return(chain: EnvoyChain) -> None:
    await chain.raw.stop()
    for method in (FORWARDED, STREAM, UPLOAD):
        assert (await status_of(chain.unary(method)))[0] is StatusCode.UNAVAILABLE
    await chain.raw.start()
    for method in (FORWARDED, STREAM):

        async def works(method: str = method) -> bool:
            return (await status_of(chain.unary(method)))[0] is StatusCode.OK

        await until(works, "upstream to be used again", timeout=5)


async def test_a_message_may_come_in_any_frames(core: EnvoyChain) -> None:
    chain = core
    body = b"\x00" + (10).to_bytes(4) + b"0123456789"
    reader, writer = await asyncio.open_connection("127.0.0.1", chain.port)
    request = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", UPLOAD.encode()), (b":authority", b"tests")]
    request += [(b"content-type", b"application/grpc")]  # no `te`: the answer keeps its trailers all the same
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + headers(1, request))
    for at in range(len(body)):
        writer.write(frame(DATA, END_STREAM if at == len(body) - 1 else 0, 1, body[at : at + 1]))
        await writer.drain()
        await asyncio.sleep(0.002)
    kinds: list[tuple[int, int]] = []
    while not kinds or kinds[-1] != (HEADERS, END_STREAM):
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if int.from_bytes(head[5:]) == 1 and head[3] in {DATA, HEADERS}:
            kinds.append((head[3], head[4] & END_STREAM))
    writer.close()
    await writer.wait_closed()
    assert chain.raw.seen[0].messages == [b"0123456789"]
    assert kinds[0] == (HEADERS, 0)
    assert DATA in {kind for kind, _ in kinds}


def resident(pid: int) -> int:
    """Bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def test_uploads_of_50_mib_pass_in_bounded_memory() -> None:
    body = bytes(50 << 20)
    async with proxied() as (upstream, proxy, caller):

        async def read(seen: Seen, context: Context) -> None:
            message: object = await context.read()
            assert isinstance(message, bytes)
            await context.write(len(message).to_bytes(8))

        upstream.behaviours[UPLOAD] = read
        before = resident(envoy_of(proxy))
        calls = [unary(caller, UPLOAD, body, timeout=120) for _ in range(8)]
        assert [int.from_bytes(await call) for call in calls] == [len(body)] * 8
        assert resident(envoy_of(proxy)) - before < 600 << 20
