"""proxy.policy.reflection: reads descriptors from a real server's reflection."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from proxy.pb import media_pb2 as pb
from proxy.policy.descriptors import BadDescriptors
from proxy.policy.reflection import ask
from tests.support.servers.children import free_port
from tests.support.servers.process import ROOT


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    server = grpc.server(ThreadPoolExecutor(1))
    reflection.enable_server_reflection(["media.MediaService", reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None)


def test_a_server_tells_what_its_services_look_like(channel: grpc.Channel) -> None:
    found = ask(channel)
    assert list(found.services()) == ["media.MediaService"]
    assert found.methods("media.MediaService")["GetFilesByModel"].request.full_name == "media.GetFilesByModelRequest"
    assert (
        ask(channel, "media.MediaService").message("media.Media")(id=7).SerializeToString()
        == pb.Media(id=7).SerializeToString()
    )


def test_a_service_that_it_does_not_have_is_told(channel: grpc.Channel) -> None:
    with pytest.raises(BadDescriptors, match="cannot be read by reflection"):
        ask(channel, "no.Such")


def test_a_server_without_reflection_is_told() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(BadDescriptors, match=r"UNIMPLEMENTED.*accepted: a server with reflection, or a file"):
            ask(channel)
    server.stop(None)


def test_a_server_that_is_away_is_told() -> None:
    """In a process of its own, as the command is: where grpc.aio ran as well, gRPC's blocking library once lost a
    call that failed, and its deadline (grpcio 1.85).
    """
    command = [sys.executable, "-m", "proxy", "policy", "init", "--reflection", f"127.0.0.1:{free_port()}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert told.returncode == 1
    assert "cannot be read by reflection (UNAVAILABLE" in told.stderr
