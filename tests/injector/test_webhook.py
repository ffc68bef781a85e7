"""The webhook over real TLS: admissions, refusals, probes, metrics, and its end."""

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from proxy.injector import launch, webhook
from proxy.injector.cluster import Cluster
from proxy.injector.launch import Launch
from proxy.injector.settings import InjectorSettings
from proxy.injector.webhook import Webhook
from tests.injector.fake_api import FakeApi
from tests.injector.pods import GOLDEN, load
from tests.injector.reviews import patch_of, review

POD = load(GOLDEN[0])["given"]["pod"]
LAUNCH = Launch(
    listen_addr="127.0.0.1:0", probe_addr="127.0.0.1:0", namespace="system", service="injector",
    configuration="injector", tls_mode="selfManaged", tls_secret="tls", tls_dir="", tls_write_ca_bundle=True,
    tls_life=90 * 86400.0, tls_interval=30.0, tls_settle=20.0, drain_time=0.0,
)  # fmt: skip


class Client:
    """Calls the webhook as the API server does: by its Service's name, trusting the caBundle only."""

    def __init__(self, session: aiohttp.ClientSession, subject: Webhook, api: FakeApi, ports: tuple[int, int]) -> None:
        self.session, self.subject, self.api, self.ports = session, subject, api, ports

    async def post(self, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        context = ssl.create_default_context(cadata=self.api.bundle().decode())
        async with self.session.post(
            f"https://127.0.0.1:{self.ports[0]}/mutate",
            data=io.BytesIO(body),
            headers={"Content-Type": kind},
            ssl=context,
            server_hostname="injector.system.svc",
        ) as response:
            return response.status, await response.read()

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"http://127.0.0.1:{self.ports[1]}{path}") as response:
            return response.status, await response.text()

    async def count(self, result: str, reason: str) -> float:
        name = "media_cache_injector_admissions_total"
        return self.subject.metrics.registry.get_sample_value(name, {"result": result, "reason": reason}) or 0.0


@asynccontextmanager
async def listening(cluster: Cluster, api: FakeApi) -> AsyncIterator[Client]:
    subject = launch.build(LAUNCH, InjectorSettings(), cluster)
    async with (
        webhook.listening(subject, LAUNCH.listen_addr, LAUNCH.probe_addr) as ports,
        aiohttp.ClientSession() as session,
    ):
        yield Client(session, subject, api, ports)


@pytest.fixture
async def client(cluster: Cluster, api: FakeApi) -> AsyncIterator[Client]:
    async with listening(cluster, api) as found:
        await found.subject.ask_version()
        await found.subject.keeper.check()
        yield found


async def test_an_admission(client: Client) -> None:
    status, body = await client.post(json.dumps(review(POD)).encode())
    assert status == 200
    answer = json.loads(body)
    assert answer["response"]["allowed"] is True
    assert any(operation["path"] == "/spec/initContainers" for operation in patch_of(answer))
    assert await client.count("injected", "injected") == 1


async def test_a_denial_has_code_message_and_remedy(client: Client) -> None:
    pod = {**POD, "spec": {**POD["spec"], "hostNetwork": True}}
    status, body = await client.post(json.dumps(review(pod)).encode())
    assert status == 200
    said = json.loads(body)["response"]["status"]
    assert said["code"] == 400
    assert said["message"].startswith("media-cache-proxy.io/inject: with hostNetwork")
    assert await client.count("denied", "host-network") == 1


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason", "message"),
    [
        (b"{}", "text/plain", 415, "content-type", b"text/plain is not accepted; send application/json\n"),
        (b"nonsense", "application/json", 400, "bad-review", b"the body is not JSON\n"),
        (b" " * (4 << 20) + b"{}", "application/json", 413, "too-large", b"the body is larger than 4194304 bytes\n"),
    ],
)
async def test_what_is_no_admission(
    client: Client, body: bytes, kind: str, status: int, reason: str, message: bytes
) -> None:
    assert await client.post(body, kind) == (status, message)
    assert await client.count("rejected", reason) == 1


async def test_an_internal_error_is_a_500_without_details(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(webhook, "decided", broken)
    assert await client.post(json.dumps(review(POD)).encode()) == (500, b"internal error\n")
    assert await client.count("error", "exception") == 1
    assert "RuntimeError: inside" in caplog.text


async def test_only_post_mutate(client: Client) -> None:
    context = ssl.create_default_context(cadata=client.api.bundle().decode())
    for method, path, status in (("GET", "/mutate", 405), ("POST", "/other", 404)):
        url = f"https://127.0.0.1:{client.ports[0]}{path}"
        async with client.session.request(method, url, ssl=context, server_hostname="injector.system.svc") as response:
            assert response.status == status


async def test_ready_only_while_certificate_and_version_are_there(cluster: Cluster, api: FakeApi) -> None:
    async with listening(cluster, api) as client:
        assert await client.get("/healthz") == (200, "ok\n")
        assert await client.get("/readyz") == (503, "the API server's version is not known yet\n")
        await client.subject.ask_version()
        assert await client.get("/readyz") == (503, "no certificate yet\n")
        await client.subject.keeper.check()
        assert await client.get("/readyz") == (200, "ok\n")


async def test_without_the_version_no_pod_is_guessed_at(client: Client) -> None:
    client.subject.kubernetes = None
    status, _ = await client.post(json.dumps(review(POD)).encode())
    assert status == 503


async def test_an_old_version_is_kept_while_there_is_no_new_one(client: Client) -> None:
    client.api.version = "v1.36.0"
    await client.subject.ask_version()
    assert client.subject.kubernetes == (1, 36)
    client.api.down = True
    await client.subject.ask_version()
    assert client.subject.kubernetes == (1, 36)


async def test_metrics(client: Client) -> None:
    await client.post(json.dumps(review(POD)).encode())
    status, text = await client.get("/metrics")
    assert status == 200
    assert 'media_cache_injector_admissions_total{reason="injected",result="injected"} 1.0' in text
    assert "media_cache_injector_admission_duration_seconds_count 1.0" in text
    assert "media_cache_injector_certificate_expiry_timestamp_seconds 1." in text


async def test_ending_is_not_ready_first_and_serves_on(cluster: Cluster, api: FakeApi) -> None:
    subject = launch.build(LAUNCH, InjectorSettings(), cluster)
    stop, trusted = asyncio.Event(), asyncio.Event()

    async def notice(method: str, _path: str) -> None:
        if method == "PATCH":
            trusted.set()

    api.before = notice
    serving = asyncio.create_task(
        webhook.serve(subject, "127.0.0.1:0", "127.0.0.1:0", interval=30.0, drain_time=0.0, stop=stop)
    )
    async with asyncio.timeout(10):
        await trusted.wait()
        stop.set()
        await serving
    assert subject.problem() == "ending"


async def test_while_it_ends_no_connection_is_kept(client: Client) -> None:
    """An API server does not repeat a request that meets the end of a kept connection: the pod would get no sidecar."""
    context = ssl.create_default_context(cadata=client.api.bundle().decode())
    url = f"https://127.0.0.1:{client.ports[0]}/mutate"
    for ending in (False, True):
        client.subject.ending = ending
        async with client.session.post(
            url, json=review(POD), ssl=context, server_hostname="injector.system.svc"
        ) as told:
            assert told.status == 200
            assert (told.headers.get("Connection") == "close") is ending


POLICY = """
version: 1
services:
  - {name: media.MediaService, builtin: true}
  - {name: product.ProductService, address_variable: PRODUCT_SERVICE_ADDR, descriptors: product.binpb}
"""


async def test_a_policy_is_read_in_the_pods_namespace(client: Client) -> None:
    env = [{"name": "MEDIA_SERVICE_ADDR", "value": "m:1"}, {"name": "PRODUCT_SERVICE_ADDR", "value": "p:1"}]
    notes = {"media-cache-proxy.io/inject": "true", "media-cache-proxy.io/policy": "shop"}
    pod = {"metadata": {"annotations": notes}, "spec": {"containers": [{"name": "app", "env": env}]}}

    async def answer() -> dict[str, Any]:
        status, body = await client.post(json.dumps(review(pod)).encode())
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found

    said = (await answer())["response"]["status"]["message"]
    assert said.startswith("media-cache-proxy.io/policy: shop: cannot be read: get ConfigMap shop/shop: 404")
    client.api.configs["shop"] = {"other.yaml": POLICY}
    said = (await answer())["response"]["status"]["message"]
    assert said == "media-cache-proxy.io/policy: shop: the ConfigMap in shop has no key policy.yaml"
    client.api.configs["shop"] = {"policy.yaml": POLICY}
    swapped = [each for each in patch_of(await answer()) if each["op"] == "replace"]
    assert {each["value"]["name"]: each["value"]["value"] for each in swapped} == {
        "MEDIA_SERVICE_ADDR": "127.0.0.1:50066",
        "PRODUCT_SERVICE_ADDR": "127.0.0.1:50066",
    }
    assert "GET /api/v1/namespaces/shop/configmaps/shop" in client.api.calls
