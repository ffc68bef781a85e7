"""The origin of the benchmarks: nghttpd, a compiled HTTP/2 server. Files are the answers; a trailer is their status.

It answers each method with fixed bytes, several times as fast as any forwarder in front of it. A slow origin would make
every forwarder look expensive: one that is never busy wakes up for each call and batches nothing.
"""

from pathlib import Path

from bench import messages
from proxy.pb import media_pb2 as pb
from tests.support.servers.children import Child, program

_STREAMS = "250"
"""Concurrent streams per connection, as many as the proxy allows its own callers."""


def origin(folder: Path, port: int) -> Child:
    """The process, not started yet; it listens on 127.0.0.1."""
    for path, messages_of in _answers().items():
        file = folder / "answers" / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"".join(map(messages.framed, messages_of)))
    command = [program("nghttp2-server", "nghttpd"), "--no-tls", "--address=127.0.0.1", "--trailer=grpc-status: 0"]
    command += [f"--htdocs={folder / 'answers'}", f"--max-concurrent-streams={_STREAMS}", str(port)]
    return Child("nghttpd", command, folder)


def _answers() -> dict[str, list[bytes]]:
    """The messages of each method's answer."""
    read = messages.answer(pb.GetFilesByModelRequest.FromString(messages.read()))
    return {
        messages.READ: [read.SerializeToString()],
        messages.FORWARDED: [messages.forwarded().SerializeToString()],
        messages.STREAM: [messages.STREAM_MESSAGE] * messages.STREAM_MESSAGES,
    }
