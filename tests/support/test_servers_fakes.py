"""The fakes of the tests behave like the originals: `FaultyTcp` like a network, `FakeMedia` as media.proto says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub, add_MediaServiceServicer_to_server
from tests.support.servers.children import free_port
from tests.support.servers.redis import RedisServer
from tests.support.servers.streams import StreamServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMedia, FakeMediaServer
from tests.support.servers.waiting import until

if TYPE_CHECKING:
    # For the type checker only, which distinguishes the stub of an aio channel from that of a blocking one by it.
    from proxy.pb.media_pb2_grpc import MediaServiceAsyncStub as Stub


@pytest.fixture
async def tcp(redis: RedisServer) -> AsyncIterator[FaultyTcp]:
    async with FaultyTcp(redis.port) as tcp:
        yield tcp


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _connected(tcp: FaultyTcp) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def _pinged(tcp: FaultyTcp) -> AsyncIterator[Streams]:
    """A connection through the proxy that has seen Redis answer."""
    async with _connected(tcp) as (reader, writer):
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        yield reader, writer


class TestFaultyTcp:
    async def test_without_a_fault_it_passes_all_on_and_counts(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp), _pinged(tcp):
            async with _pinged(tcp):
                assert (tcp.connections, tcp.open) == (3, 3)
            await until(lambda: tcp.open == 2, "the closed connection to be seen")
            await tcp.connected(3)

    async def test_delay_holds_the_reply_not_the_request(self, tcp: FaultyTcp, redis: RedisServer) -> None:
        async with _pinged(tcp) as (reader, writer):
            tcp.delay = 3600
            writer.write(b"SET key value\r\n")

            async def arrived() -> bool:
                return bool(await redis.cli("GET", "key") == b"value")

            await until(arrived, "the request to arrive")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.05)

    async def test_swallow_is_half_open(self, tcp: FaultyTcp, redis: RedisServer) -> None:
        tcp.swallow = True
        async with _connected(tcp) as (reader, writer):
            writer.write(b"SET key value\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.05)
        assert await redis.cli("GET", "key") is None

    async def test_stalled_it_reads_nothing_until_resumed(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp) as (reader, writer):
            tcp.stall()
            writer.write(b"PING\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reply := asyncio.ensure_future(reader.readline())), 0.2)
            tcp.resume()
            assert await reply == b"+PONG\r\n"

    async def test_stalled_it_fills_the_senders_buffers(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp) as (reader, writer):
            tcp.stall()
            huge = b"x" * 32_000_000
            writer.write(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(huge), huge))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
            tcp.resume()
            assert await reader.readline() == b"$%d\r\n" % len(huge)
            assert await reader.readexactly(len(huge)) == huge

    async def test_cut_resets_what_is_open_and_lets_new_ones_in(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp) as (reader, _):
            tcp.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        async with _pinged(tcp):
            assert tcp.connections == 2

    async def test_a_reply_is_cut_after_so_many_bytes(self, tcp: FaultyTcp) -> None:
        tcp.cut_reply_after = 9
        async with _pinged(tcp) as (reader, writer):
            writer.write(b"PING\r\n")
            assert await reader.readexactly(2) == b"+P"
            with pytest.raises(ConnectionResetError):
                await reader.read()

    async def test_refused_and_started_again_on_the_same_port(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp) as (reader, _):
            await tcp.refuse()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", tcp.port)
        await tcp.start()
        async with _pinged(tcp):
            assert tcp.open == 1

    async def test_a_server_that_is_away_resets(self) -> None:
        async with FaultyTcp(free_port()) as tcp, _connected(tcp) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()

    async def test_a_server_that_closes_is_seen_to_close(self, tcp: FaultyTcp) -> None:
        async with _pinged(tcp) as (reader, writer):
            writer.write(b"QUIT\r\n")
            assert await reader.read() == b"+OK\r\n"


class TestStreamServer:
    async def test_stopped_it_leaves_no_task_and_no_connection(self) -> None:
        """This includes connections that were just made, or whose peers read nothing."""
        mine = asyncio.all_tasks()
        talking: list[asyncio.StreamWriter] = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talking.append(writer)
            writer.write(bytes(8 << 20))
            await reader.read()

        async with StreamServer(talk) as server:
            _, deaf = await asyncio.open_connection("127.0.0.1", server.port)
            await until(lambda: talking, "the connection")
            _, new = await asyncio.open_connection("127.0.0.1", server.port)
        assert asyncio.all_tasks() == mine
        for writer in talking:
            with pytest.raises(ConnectionError):
                await writer.drain()
        for each in (deaf, new):
            each.transport.abort()

    async def test_what_talk_raises_is_raised_unless_its_peer_went_away(self) -> None:
        async def away(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)

        async def wrong(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            raise LookupError

        for talk in (away, wrong):
            server = await StreamServer(talk).start()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write_eof()
            if talk is wrong:
                assert await reader.read() == b""
                with pytest.raises(LookupError):
                    await server.stop()
            else:
                await server.stop()
            writer.close()


@pytest.fixture
def grpc_addr() -> str:
    """Replaces pytest-grpc-aio's fixture, which leaves a socket open: that causes a warning, which is an error here."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def grpc_servicer() -> FakeMedia:
    return FakeMedia()


@pytest.fixture
def grpc_add_to_server() -> Callable[[FakeMedia, grpc.aio.Server], None]:
    return add_MediaServiceServicer_to_server


@pytest.fixture
def grpc_stub_cls() -> type[MediaServiceStub]:
    return MediaServiceStub


@pytest.fixture
async def stub(grpc_aio_stub: Callable[[], AbstractAsyncContextManager["Stub"]]) -> AsyncIterator["Stub"]:
    """A stub of `grpc_servicer`, served and closed by pytest-grpc-aio."""
    async with grpc_aio_stub() as stub:
        yield stub


class TestFakeMedia:
    async def test_files_are_found_by_model_in_any_case_and_by_collection_exactly(
        self, stub: "Stub", grpc_servicer: FakeMedia
    ) -> None:
        for collection in ("avatars", "avatars", "covers"):
            grpc_servicer.add("User", 2**60 + 1, collection)
        grpc_servicer.add("user", 2)
        request = pb.GetFilesByModelRequest(model_type="uSER", model_id=2**60 + 1, collection_name="avatars")
        answer = await stub.GetFilesByModel(request)
        assert answer.success
        assert [(media.model_type, media.collection_name) for media in answer.data.media] == [("User", "avatars")] * 2
        assert (answer.data.total, answer.data.page, answer.data.per_page) == (3, 1, 20)
        request.collection_name = "Avatars"
        assert not (await stub.GetFilesByModel(request)).data.media

    async def test_pages(self, stub: "Stub", grpc_servicer: FakeMedia) -> None:
        for _ in range(5):
            grpc_servicer.add("user", 1)
        request = pb.GetFilesByModelRequest(model_type="user", model_id=1, page=2, per_page=2)
        assert [media.id for media in (await stub.GetFilesByModel(request)).data.media] == [3, 4]
        request.per_page = 101
        assert not (await stub.GetFilesByModel(request)).success

    async def test_urls_are_signed_anew_each_time_for_as_long_as_told(
        self, stub: "Stub", grpc_servicer: FakeMedia
    ) -> None:
        grpc_servicer.add("user", 1)
        grpc_servicer.clock, grpc_servicer.url_expires = (lambda: 1_700_000_000.5), 90
        request = pb.GetFilesByModelRequest(model_type="user", model_id=1)
        urls = [(await stub.GetFilesByModel(request)).data.media[0].presigned_url for _ in range(2)]
        assert all("X-Amz-Date=20231114T221320Z&X-Amz-Expires=90&" in url for url in urls)
        assert urls[0] != urls[1]
        link = await stub.GetFileURL(pb.GetFileURLRequest(id=1))
        assert link.data.expires_at == 1_700_000_090

    async def test_an_upload_is_found_and_a_deletion_is_not(self, stub: "Stub", grpc_servicer: FakeMedia) -> None:
        upload = pb.UploadFileRequest(content=b"12345", model_type="user", model_id=1, file_name="a.png")
        media = (await stub.UploadFile(upload)).data
        assert (media.size, media.file_name) == (5, "a.png")
        assert (await stub.GetFileByID(pb.GetFileByIDRequest(id=media.id))).data == media
        assert (await stub.GetFileByUUID(pb.GetFileByUUIDRequest(uuid=media.uuid))).data == media
        assert (await stub.GetAllMedia(pb.GetAllMediaRequest())).data.total == 1
        assert (await stub.DeleteFile(pb.DeleteFileRequest(id=media.id))).success
        assert not (await stub.DeleteFile(pb.DeleteFileRequest(id=media.id))).success
        assert not (await stub.GetFileByID(pb.GetFileByIDRequest(id=media.id))).success
        assert grpc_servicer.version == 2

    async def test_a_call_is_seen_with_its_metadata_and_deadline(self, stub: "Stub", grpc_servicer: FakeMedia) -> None:
        grpc_servicer.initial_metadata = (("first", "1"),)
        grpc_servicer.trailing_metadata = (("last", "2"),)
        call = stub.DeleteFile(pb.DeleteFileRequest(id=7), metadata=(("key", "a"), ("key", "b")), timeout=60)
        assert dict(await call.initial_metadata())["first"] == "1"
        assert dict(await call.trailing_metadata())["last"] == "2"
        (seen,) = grpc_servicer.calls
        assert (seen.method, seen.request, seen.ended) == ("DeleteFile", pb.DeleteFileRequest(id=7), "answered")
        assert [value for key, value in seen.metadata if key == "key"] == ["a", "b"]
        assert seen.time_remaining is not None
        assert 0 < seen.time_remaining <= 61  # gRPC rounds a timeout up on the wire

    async def test_held_at_the_request_nothing_has_changed_held_at_the_answer_it_has(
        self, stub: "Stub", grpc_servicer: FakeMedia
    ) -> None:
        before, after = grpc_servicer.hold("UploadFile"), grpc_servicer.hold("UploadFile", at="answer")
        call = stub.UploadFile(pb.UploadFileRequest(model_type="user", model_id=1))
        await before.reached()
        assert grpc_servicer.version == 0
        before.open()
        await after.reached()
        assert grpc_servicer.version == 1
        call.cancel()
        await until(lambda: grpc_servicer.calls[0].ended == "cancelled", "the cancellation to arrive")

    async def test_failures_of_both_kinds_until_healed(self, stub: "Stub", grpc_servicer: FakeMedia) -> None:
        grpc_servicer.fail("UploadFile", grpc.StatusCode.INTERNAL, "after the commit", at="answer")
        with pytest.raises(grpc.aio.AioRpcError, match="after the commit") as failed:
            await stub.UploadFile(pb.UploadFileRequest(model_type="user", model_id=1))
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert grpc_servicer.version == 1
        await until(lambda: grpc_servicer.calls[0].ended == "failed", "the end to be noted")
        grpc_servicer.unsuccessful["GetAllMedia"] = "database away"
        answer = await stub.GetAllMedia(pb.GetAllMediaRequest())
        assert (answer.success, answer.message) == (False, "database away")
        grpc_servicer.heal()
        assert (await stub.GetAllMedia(pb.GetAllMediaRequest())).success
        assert grpc_servicer.count("GetAllMedia") == 2

    async def test_stopped_it_refuses_and_started_again_it_serves_on_the_same_port(self) -> None:
        async with FakeMediaServer() as upstream, grpc.aio.insecure_channel(upstream.addr) as channel:
            stub = MediaServiceStub(channel)
            upstream.media.add("user", 1)
            assert (await stub.GetAllMedia(pb.GetAllMediaRequest())).data.total == 1
            await upstream.stop()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await stub.GetAllMedia(pb.GetAllMediaRequest())
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            await upstream.start()
            assert (await stub.GetAllMedia(pb.GetAllMediaRequest(), wait_for_ready=True)).data.total == 1
