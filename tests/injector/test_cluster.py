"""The calls to the API server: what they send, and that every failure is one line."""

import base64
from pathlib import Path

import pytest

from proxy.injector.cluster import Bundles, Cluster, ClusterError, ConflictError, StoredSecret, connect
from tests.injector.fake_api import CONFIGURATION, SECRET, FakeApi


async def test_the_version(cluster: Cluster) -> None:
    assert await cluster.version() == (1, 35)


async def test_a_version_that_is_none(cluster: Cluster, api: FakeApi) -> None:
    api.version = "unknown"
    with pytest.raises(ClusterError, match="GET /version: the answer is not understood"):
        await cluster.version()


async def test_a_secret_is_stored_whole(cluster: Cluster, api: FakeApi) -> None:
    empty = await cluster.secret()
    assert empty == StoredSecret({}, "1")
    await cluster.store(StoredSecret({"tls.crt": b"\x00\xff"}, empty.version))
    assert api.stored("tls.crt") == b"\x00\xff"
    assert await cluster.secret() == StoredSecret({"tls.crt": b"\x00\xff"}, "2")


async def test_a_secret_that_changed_before_or_during_the_write_is_a_conflict(cluster: Cluster, api: FakeApi) -> None:
    with pytest.raises(ConflictError):
        await cluster.store(StoredSecret({}, "0"))

    async def meanwhile(method: str, _path: str) -> None:
        if method == "PUT":
            api.secret_version += 1

    api.before = meanwhile
    with pytest.raises(ConflictError, match="update Secret system/tls: 409 the object has been modified"):
        await cluster.store(StoredSecret({"a": b"b"}, "1"))
    assert api.secret == {}


async def test_bundles_are_patched_by_name(cluster: Cluster, api: FakeApi) -> None:
    there = await cluster.bundles()
    assert there == Bundles({"pods.example": b"", "namespaces.example": b""}, "1")
    await cluster.trust(Bundles({"pods.example": b"PEM"}, there.version))
    assert api.bundles == {"pods.example": base64.b64encode(b"PEM").decode(), "namespaces.example": ""}
    with pytest.raises(ConflictError):
        await cluster.trust(Bundles({"pods.example": b"PEM"}, there.version))
    await cluster.trust(Bundles({"pods.example": b"NEXT"}, (await cluster.bundles()).version))
    assert api.bundle() == b"NEXT"


async def test_only_what_rbac_allows_is_called(cluster: Cluster, api: FakeApi) -> None:
    await cluster.store(await cluster.secret())
    await cluster.trust(await cluster.bundles())
    assert set(api.calls) == {f"GET {SECRET}", f"PUT {SECRET}", f"GET {CONFIGURATION}", f"PATCH {CONFIGURATION}"}


async def test_failures_are_one_line(cluster: Cluster, api: FakeApi) -> None:
    api.secret = None
    with pytest.raises(ClusterError, match='get Secret system/tls: 404 secrets "tls" not found'):
        await cluster.secret()
    api.secret = {"tls.crt": "not base64!"}
    with pytest.raises(ClusterError, match="get Secret system/tls: the answer is not understood"):
        await cluster.secret()
    api.down = True
    with pytest.raises(ClusterError, match="get MutatingWebhookConfiguration injector: 500 etcdserver"):
        await cluster.bundles()


async def test_an_api_server_that_is_away(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = FakeApi(url="http://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", str(away.kubeconfig(tmp_path)))
    async with connect("system", "tls", "injector") as found:
        with pytest.raises(ClusterError, match="GET /version: "):
            await found.version()
    assert await cluster.version()


async def test_neither_a_service_account_nor_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="find the API server: "):
        async with connect("system", "tls", "injector"):
            raise AssertionError("connected to nothing")
