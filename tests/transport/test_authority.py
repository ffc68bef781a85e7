"""The `:authority` of calls upstream; on the wire, with both transports."""

from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode

from proxy.transport.authority import authority
from tests.as_direct.upstream import HandUpstream
from tests.support.raw_upstream import status_of, unary
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess

METHODS = ("/media.MediaService/GetFilesByModel", "/media.MediaService/GetFileURL", "/any.Service/Anything")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        *(("media:50056", "media:50056"), ("media", "media"), ("[::1]:50056", "[::1]:50056")),
        *(("dns:media:1", "media:1"), ("dns:///media:1", "media:1"), ("dns://10.0.0.1:53/media:1", "media:1")),
        *(("ipv4:10.0.0.1:1,10.0.0.2:2", "10.0.0.1:1"), ("ipv4:///10.0.0.1:1", "10.0.0.1:1")),
        *(("ipv6:[::1]:1,[::2]:2", "[::1]:1"), ("ipv6:%5B::1%5D:1", "[::1]:1")),
        *(("unix:/run/media.sock", "localhost"), ("unix:///run/m", "localhost"), ("unix-abstract:m", "localhost")),
    ],
)
def test_it_is_the_targets_or_a_legal_one(target: str, name: str) -> None:
    assert authority(target) == name
    assert authority(target, "media.test") == "media.test"


@pytest.mark.parametrize("target", ["ipv4:127.0.0.1:{dead},127.0.0.1:{port}", "unix:{path}", "localhost:{port}"])
@pytest.mark.usefixtures("each_transport")
async def test_what_upstream_gets_is_legal(tmp_path: Path, target: str) -> None:
    """Servers reset a call whose authority is a path or a list (tonic and hyper do)."""
    dead = free_port()
    with HandUpstream(path := str(tmp_path / "media.sock")).serving() as upstream:
        address = target.format(dead=dead, port=upstream.port, path=path)
        async with ProxyProcess(MEDIA_SERVICE_ADDR=address) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr) as caller:
                for method in METHODS:
                    assert await status_of(unary(caller, method, b"q")) == (StatusCode.OK, "")
        names = {"ipv4": f"127.0.0.1:{dead}", "unix": "localhost"}
        expected = names.get(target.partition(":")[0], f"localhost:{upstream.port}")
        assert {each.of(b":authority")[0].decode() for each in upstream.seen} == {expected}
