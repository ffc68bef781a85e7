"""Envoy's interpreter finds the same modules as `serve`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.pb import media_pb2 as pb
from proxy.transport.credentials import server_credentials
from tests.support.calling import Gateway
from tests.support.servers.certificates import Authority
from tests.support.servers.process import ProxyProcess
from tests.support.servers.upstream import FakeMediaServer
from tests.support.tls_legs import leg

HOSTILE = "import os, sys; os.write(2, f'{__file__} was run\\n'.encode()); sys.exit(1)\n"
LEGS = ("LISTEN_TLS", "UPSTREAM_TLS")
READ = pb.GetFilesByModelRequest(model_type="user", model_id=1)
SHADOWED = ("aio_pika", "asyncio", "grpc", "json", "media_cache_proxy_worker", "proxy", "pyvoy", "sitecustomize")


def installed(**settings: str) -> ProxyProcess:
    """The command as pip installed it (here editable), so that modules are found only by the installation."""
    proxy = ProxyProcess(**settings)
    proxy.child.command = [str(Path(sys.executable).with_name("media-cache-proxy")), "serve"]
    assert proxy.child.env is not None
    proxy.child.env = {name: value for name, value in proxy.child.env.items() if name != "PYTHONPATH"}
    return proxy


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_nothing_of_the_working_directory_is_run(transport: str) -> None:
    proxy = installed(TRANSPORT=transport)
    for name in SHADOWED:
        (proxy.directory / f"{name}.py").write_text(HOSTILE)
    async with proxy:
        proxy.terminate()
        assert await proxy.exited() == 0
        assert "was run" not in proxy.stderr


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_an_editable_installation_serves_from_any_directory(transport: str) -> None:
    proxy = installed(TRANSPORT=transport)
    proxy.child.command = ["env", "--chdir=/", *proxy.child.command]
    async with proxy:
        proxy.terminate()
        assert await proxy.exited() == 0


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_a_path_of_a_setting_begins_where_serve_was_started(transport: str, authority: Authority) -> None:
    own = authority.issue("127.0.0.1", "localhost")
    async with FakeMediaServer(credentials=server_credentials(leg(authority.ca, own, server=True))) as upstream:
        proxy = installed(
            TRANSPORT=transport,
            MEDIA_SERVICE_ADDR=upstream.addr,
            UPSTREAM_TLS="on",
            **{f"{each}_{kind}": f"own.{kind.lower()}" for each in LEGS for kind in ("CERT", "KEY")},
            LISTEN_TLS_CLIENT_CA="ca.crt",
            UPSTREAM_TLS_CA="ca.crt",
        )
        for file, name in ((own.cert, "own.cert"), (own.key, "own.key"), (authority.ca, "ca.crt")):
            shutil.copy(file, proxy.directory / name)
        async with proxy, Gateway(proxy.addr, leg(authority.ca, own)) as gateway:
            for forwarded in (gateway.stub.GetFilesByModel(READ), gateway.stub.GetAllMedia(pb.GetAllMediaRequest())):
                await forwarded


def test_the_proxy_is_loaded_once_the_application_is_called() -> None:
    program = "import sys, proxy.envoy.worker; sys.exit('proxy.app' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
