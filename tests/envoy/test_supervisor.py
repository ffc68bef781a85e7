"""TRANSPORT=envoy as a process: `serve`, the Envoy that it starts, and the end of either."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from click.testing import CliRunner
from grpc import StatusCode

from bench.accounting import Tree
from proxy import cli
from proxy.envoy import config_files
from proxy.envoy.bootstrap import Place
from proxy.settings.config import Settings
from tests.support.envoy_chain import admin_socket_of, envoy_of
from tests.support.raw_upstream import RawUpstream, status_of, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until
from tests.support.services import policy_in

METHOD = "/any.Service/Anything"


@pytest.fixture
async def upstream() -> AsyncIterator[RawUpstream]:
    async with RawUpstream() as upstream:
        yield upstream


@pytest.fixture
async def proxy(upstream: RawUpstream) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(TRANSPORT="envoy", MEDIA_SERVICE_ADDR=upstream.address) as proxy:
        yield proxy


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


async def serves(proxy: ProxyProcess) -> bool:
    async with grpc.aio.insecure_channel(proxy.addr, options=(("grpc.use_local_subchannel_pool", 1),)) as caller:
        return await status_of(unary(caller, METHOD, timeout=5)) == (StatusCode.OK, "")


async def test_an_envoy_that_crashes_is_started_again_and_counted(proxy: ProxyProcess) -> None:
    crashed = envoy_of(proxy)

    os.kill(crashed, signal.SIGKILL)
    await proxy.logged("Envoy crashed with SIGKILL and is being restarted")
    await proxy.logged('"msg": "serving"', times=2)
    assert await serves(proxy)
    assert envoy_of(proxy) != crashed
    assert await proxy.metric("media_cache_envoy_restarts_total") == 1
    proxy.terminate()
    assert await proxy.exited() == 0


async def test_an_envoy_that_ends_by_itself_ends_the_proxy_with_its_reason(proxy: ProxyProcess) -> None:

    os.kill(envoy_of(proxy), signal.SIGTERM)
    assert await proxy.exited() == 1
    await proxy.logged("Envoy exited unexpectedly with status 0, so the proxy ends too")


async def test_envoy_dies_with_the_proxy(proxy: ProxyProcess) -> None:
    envoy = envoy_of(proxy)
    proxy.kill()
    await until(lambda: not alive(envoy), "the end of Envoy")


async def test_what_only_the_start_used_is_given_back(proxy: ProxyProcess) -> None:
    """Its processes take 114 MB together; with all pages of Envoy's executable that the start touched, 157 MB."""
    await until(lambda: Tree(proxy.pid).resident() < 140, "memory to be given back")
    assert await serves(proxy)
    assert Tree(proxy.pid).resident() < 140


async def test_its_statistics_are_on_metrics_under_its_own_names(proxy: ProxyProcess) -> None:
    assert await serves(proxy)
    name = 'envoy_cluster_upstream_rq_total{envoy_cluster_name="upstream"}'
    assert await proxy.metric(name) == 1
    assert await proxy.metric("media_cache_envoy_restarts_total") == 0


def mode_of(path: Path) -> int:
    return path.stat().st_mode


async def test_nobody_else_may_reach_envoys_admin_interface(proxy: ProxyProcess) -> None:
    admin = admin_socket_of(proxy)
    assert stat.S_ISSOCK(mode_of(admin))
    assert mode_of(admin.parent) & 0o077 == 0
    proxy.terminate()
    assert await proxy.exited() == 0
    with pytest.raises(FileNotFoundError):
        mode_of(admin.parent)


async def test_a_host_that_is_not_known_is_told_as_with_grpcio() -> None:
    address = "no-such-host.invalid:1"
    proxy = ProxyProcess(TRANSPORT="envoy", LISTEN_ADDR=address)
    proxy.child.spawn()
    try:
        assert await proxy.exited() == 1
        [line] = proxy.stderr.splitlines()
        assert line.startswith(f"media-cache-proxy: LISTEN_ADDR: '{address}' cannot be opened to listen on; accepted: ")
    finally:
        proxy.remove()


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("proxy.cli.find_spec", lambda _: None)
    monkeypatch.setenv("TRANSPORT", "envoy")
    for command in ("serve", "envoy-config"):
        assert cli.run([command]) == 2
        assert capsys.readouterr().err == (
            "media-cache-proxy: TRANSPORT: 'envoy' needs packages that are not installed; accepted: grpcio, or envoy "
            "after pip install '.[envoy]' in the source tree\n"
        )


def test_the_configuration_can_be_read() -> None:
    result = CliRunner().invoke(cli.cli, ["envoy-config", "--media-service-addr", "media:1"])
    assert result.exit_code == 0
    shown = json.loads(result.output)
    assert shown["admin"]["address"]["pipe"]["path"].endswith("/admin.sock")
    assert '"media"' in result.output


def test_the_process_around_envoy_loads_little() -> None:
    """It lives as long as Envoy and does next to nothing."""
    heavy = ("pyvoy", "aiohttp", "grpc", "google.protobuf", "prometheus_client", "redis", "aio_pika", "opentelemetry")
    program = (
        "import sys, proxy.cli, proxy.envoy.supervisor; from proxy.envoy import launch; from pathlib import Path\n"
        "assert Path(launch.module()).is_file() and Path(launch.authorities()).is_file()\n"
        f"sys.exit(str([name for name in {heavy} if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == "[]"


def test_what_may_change_is_shown_in_its_place(tmp_path: Path) -> None:
    settings = Settings(policy=policy_in(tmp_path, product="shop:1"))
    shown = json.dumps(config_files.shown(settings, Place(tmp_path, "pyvoy.so", "roots.pem")))
    assert '"address": "shop"' in shown
    assert "/product.ProductService/GetProductByID" in shown
    assert "path_config_source" not in shown
