"""The origin of the benchmarks, real nghttpd: what gRPC clients take its answers for."""

from pathlib import Path

import grpc.aio
import pytest

from bench import messages, origin
from tests.support.servers.children import free_port
from tests.support.servers.waiting import until


@pytest.mark.parametrize("method", [messages.READ, messages.FORWARDED])
async def test_it_answers_with_one_message_and_status_ok(tmp_path: Path, method: str) -> None:
    port = free_port()
    server = origin.origin(tmp_path, port)
    server.spawn()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            answers: list[bytes] = []

            async def answered() -> bool:
                try:
                    answers.append(await call(messages.read()))
                except grpc.aio.AioRpcError:  # not listening yet
                    return False
                return True

            await until(answered, "the origin to answer")
            stored = (tmp_path / "answers" / method.removeprefix("/")).read_bytes()
            assert list(map(messages.framed, answers)) == [stored]
    finally:
        server.kill()


async def test_a_stream_has_all_its_messages(tmp_path: Path) -> None:
    port = free_port()
    server = origin.origin(tmp_path, port)
    server.spawn()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            download: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(messages.STREAM)
            call = download(b"", wait_for_ready=True)
            assert [message async for message in call] == [messages.STREAM_MESSAGE] * messages.STREAM_MESSAGES
            assert await call.code() is grpc.StatusCode.OK
    finally:
        server.kill()
