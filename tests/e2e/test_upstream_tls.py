"""A service that is reached over TLS of its own, beside one in plaintext, by whole processes on either transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from examples.pb import boutique_pb2 as boutique
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from proxy.pb import media_pb2 as media
from proxy.pb.media_pb2_grpc import MediaServiceStub
from proxy.transport.credentials import server_credentials
from tests.e2e.test_services import TRANSPORTS, x_cache
from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.services import POLICIES, Catalogue, catalogue_serving
from tests.support.tls_legs import leg

MUG = boutique.GetProductRequest(id="MUG")
ONE = media.GetFilesByModelRequest(model_type="user", model_id=1)


def policy_over_tls(directory: Path, address: str, tls: str, *, descriptors: str = "boutique.binpb") -> Path:
    text = (POLICIES / "boutique.yaml").read_text().replace("productcatalogservice:3550", address)
    text = text.replace("descriptors: boutique.binpb", f"descriptors: {descriptors}\n    upstream_tls: {tls}")
    (directory / "boutique.binpb").write_bytes((POLICIES / "boutique.binpb").read_bytes())
    path = directory / "policy.yaml"
    path.write_text(text.replace("services:\n", "services:\n  - {name: media.MediaService, builtin: true}\n"))
    return path


@dataclass
class Scene:
    proxy: ProxyProcess
    catalogue: Catalogue
    own: Issued
    media: Any
    boutique: Any


@asynccontextmanager
async def serving(
    redis: RedisServer, authority: Authority, directory: Path, transport: str, *, descriptors: str = "boutique.binpb"
) -> AsyncIterator[Scene]:
    """The catalogue shows a certificate of another name than its address, and asks for ours."""
    shown, own = authority.issue("catalogue.internal"), authority.issue()
    credentials = server_credentials(leg(authority.ca, shown, server=True))
    async with FakeMediaServer() as origin, catalogue_serving(credentials) as (catalogue, address):
        tls = (
            f"{{ca: {authority.ca.name}, cert: {own.cert.name}, key: {own.key.name}, server_name: catalogue.internal}}"
        )
        path = policy_over_tls(directory, address, tls, descriptors=descriptors)
        async with (
            ProxyProcess(
                TRANSPORT=transport, MEDIA_SERVICE_ADDR=origin.addr, REDIS_ADDR=redis.addr, POLICY=str(path)
            ) as proxy,
            grpc.aio.insecure_channel(proxy.addr) as channel,
        ):
            origin.media.add("User", 1)
            yield Scene(proxy, catalogue, own, MediaServiceStub(channel), ProductCatalogServiceStub(channel))


@TRANSPORTS
async def test_each_service_is_reached_its_own_way(
    redis: RedisServer, authority: Authority, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, authority, tmp_path, transport) as scene:
        assert [await x_cache(scene.boutique.GetProduct(MUG)) for _ in range(2)] == ["miss", "hit"]
        await scene.boutique.SearchProducts(boutique.SearchProductsRequest(query="x" * 101))  # past the cache
        assert [await x_cache(scene.media.GetFilesByModel(ONE)) for _ in range(2)] == ["miss", "hit"]
        found = await scene.media.GetFileByID(media.GetFileByIDRequest(id=99))
        assert not found.success


@TRANSPORTS
async def test_what_it_looks_like_is_asked_over_tls_too(
    redis: RedisServer, authority: Authority, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, authority, tmp_path, transport, descriptors="reflection") as scene:
        assert [await x_cache(scene.boutique.GetProduct(MUG)) for _ in range(2)] == ["miss", "hit"]


@TRANSPORTS
async def test_a_change_takes_another_way(
    redis: RedisServer, authority: Authority, stranger: Authority, tmp_path: Path, transport: str
) -> None:
    """The service moves to a server in plaintext and back; with files of no use the way before stays."""
    async with serving(redis, authority, tmp_path, transport) as scene, catalogue_serving() as (other, address):
        path = tmp_path / "policy.yaml"
        before = path.read_text()
        policy_over_tls(tmp_path, address, "{mode: off}")
        await scene.proxy.logged("the new one is in effect")
        long = boutique.SearchProductsRequest(query="x" * 101)
        await scene.boutique.SearchProducts(long)
        assert other.calls == ["SearchProducts"]
        path.write_text(before.replace(scene.own.cert.name, "away.pem"))
        (line,) = await scene.proxy.logged("cannot be used")
        assert "away.pem' cannot be read: No such file or directory" in line
        await scene.boutique.SearchProducts(long)
        assert len(other.calls) == 2
        (tmp_path / "away.pem").write_bytes(scene.own.cert.read_bytes())
        await scene.proxy.logged("the new one is in effect", 2)
        await scene.boutique.SearchProducts(long)
        assert len(other.calls) == 2


@TRANSPORTS
async def test_renewed_files_are_taken_up(
    redis: RedisServer, authority: Authority, stranger: Authority, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, authority, tmp_path, transport) as scene:
        stranger.issue().write_to(scene.own)
        long = boutique.SearchProductsRequest(query="x" * 101)
        await scene.proxy.logged("certificates for upstream were reloaded")
        if transport == "grpcio":  # Envoy goes on with the connections that it has

            async def refused() -> bool:
                try:
                    await scene.boutique.SearchProducts(long)
                except grpc.aio.AioRpcError as error:
                    return error.code() is grpc.StatusCode.UNAVAILABLE
                return False

            await until(refused, "the stranger to be refused")
        authority.issue().write_to(scene.own)
        await scene.proxy.logged("certificates for upstream were reloaded", 2)

        async def served() -> bool:
            try:
                await scene.boutique.SearchProducts(long)
            except grpc.aio.AioRpcError:
                return False
            return True

        await until(served, "the new certificate to be taken")


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_files_of_no_use_end_the_start(tmp_path: Path, transport: str) -> None:
    path = policy_over_tls(tmp_path, "127.0.0.1:1", "{ca: nowhere.pem}")
    proxy = ProxyProcess(POLICY=str(path), TRANSPORT=transport)
    proxy.child.spawn()
    assert await proxy.exited() == 2
    assert f"{tmp_path}/nowhere.pem' cannot be read: No such file or directory" in proxy.stderr
    assert "upstream_tls of hipstershop.ProductCatalogService: ca:" in proxy.stderr
    assert "Traceback" not in proxy.stderr
