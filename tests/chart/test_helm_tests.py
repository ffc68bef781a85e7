"""The pods of `helm test`: their rendered scripts run here against the webhook and a fake API server."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from proxy.injector import pki, webhook
from proxy.injector.certificates import Keeper
from proxy.injector.cluster import Cluster
from proxy.injector.metrics import WebhookMetrics
from proxy.injector.patch import Request, decide
from proxy.injector.settings import InjectorSettings
from proxy.injector.webhook import Webhook
from tests.chart.tools import objects, one, template
from tests.injector.pods import patched


def pod_of(name: str) -> dict[str, Any]:
    (container,) = one(objects(template()), "Pod", f"-{name}")["spec"]["containers"]
    return cast("dict[str, Any]", container)


async def run(name: str, **environment: str) -> tuple[int | None, str]:
    """Runs the script of a test pod of the chart with its environment, which `environment` overrides."""
    container = pod_of(name)
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *container["args"],
        env={"PATH": os.environ["PATH"], **env, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.fixture
def pair(tmp_path: Path) -> pki.Pair:
    """A certificate for localhost; its CA is in the folder as ca.crt, next to a service account's token."""
    made = pki.make(["localhost"], datetime.now(UTC), timedelta(days=1))
    (tmp_path / "ca.crt").write_bytes(made.ca)
    (tmp_path / "token").write_text("token\n")
    return made


async def test_the_webhook_answers_over_tls(pair: pki.Pair, tmp_path: Path) -> None:
    metrics, nobody = WebhookMetrics(), cast("Cluster", None)
    keeper = Keeper(cast("Any", None), nobody, "localhost", metrics, writes_bundle=False)
    pki.load(keeper.context, pair)
    subject = Webhook(InjectorSettings(), keeper, nobody, metrics, kubernetes=(1, 35))
    async with asyncio.timeout(30), webhook.listening(subject, "127.0.0.1:0", "127.0.0.1:0") as (port, _):
        where = {"WEBHOOK_HOST": "localhost", "WEBHOOK_PORT": str(port)}
        assert await run("tls", CA_FILE=str(tmp_path / "ca.crt"), **where) == (0, "the webhook answers over TLS\n")
        (tmp_path / "other.crt").write_bytes(pki.make(["x"], datetime.now(UTC), timedelta(days=1)).ca)
        status, output = await run("tls", CA_FILE=str(tmp_path / "other.crt"), **where)
    assert status == 1
    assert "CERTIFICATE_VERIFY_FAILED" in output


@asynccontextmanager
async def pods_api(pair: pki.Pair, *, injects: bool) -> AsyncIterator[int]:
    """A fake API server that accepts dry runs of pods, and injects them or not."""

    async def create(request: web.Request) -> web.Response:
        assert request.path == "/api/v1/namespaces/system/pods"
        assert request.query_string == "dryRun=All"
        assert request.headers["Authorization"] == "Bearer token"
        pod = await request.json()
        found = decide(pod, Request(namespace="system", kubernetes=(1, 35)), InjectorSettings())
        return web.Response(body=json.dumps(patched(pod, found) if injects else pod))

    app = web.Application()
    app.router.add_post("/{path:.*}", create)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=pki.server_context(pair)).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("injects", "status", "said"), [(True, 0, 'injected: {"version"'), (False, 1, "no sidecar in ['app']")]
)
async def test_a_dry_run_tells_whether_pods_are_injected(
    injects: bool, status: int, said: str, pair: pki.Pair, tmp_path: Path
) -> None:
    async with asyncio.timeout(30), pods_api(pair, injects=injects) as port:
        where = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(port)}
        done = await run("injection", ACCOUNT=str(tmp_path), **where)
    assert done[0] == status
    assert said in done[1]
