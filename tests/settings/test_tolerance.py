"""ON_BAD_SETTINGS=forward: whoever has wrong settings serves, forwards uncached, and says so; without, it ends."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from examples.pb import product_pb2, product_pb2_grpc
from examples.product_service.server import running
from examples.product_service.settings import ProductSettings
from proxy.errors import BadPolicyError, SettingError
from proxy.settings.config import declared
from proxy.settings.tolerance import PolicyFault, Taken
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
DEFAULTS = {setting.name: setting.default for setting in declared()}


@pytest.fixture
async def media() -> AsyncIterator[FakeMediaServer]:
    server = await FakeMediaServer().start()
    yield server
    await server.stop()


BAD = {
    "no address": ({"REDIS_ADDR": "redis://:secret@red is:1"}, "REDIS_ADDR: "),
    "no url": ({"RABBITMQ_ADDR": "rabbitmq:5672"}, "RABBITMQ_ADDR: "),
    "no duration": ({"CACHE_TTL": "soon"}, "CACHE_TTL: 'soon' is not understood"),
    "wrong together": ({"CACHE_TTL": "5h", "CACHE_STALE_IF_ERROR": "20h"}, "CACHE_TTL: '5h' with CACHE_STALE_IF_"),
    "no such file": ({"REDIS_ADDR": "rediss://localhost:1", "REDIS_TLS_CA": "/no/such.pem"}, "REDIS_TLS_CA: "),
    "no collector": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_TRACES_SAMPLER": "x"},
        "OTEL_TRACES_S",
    ),
}


@pytest.mark.usefixtures("each_transport")
@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD)
async def test_it_forwards_uncached_and_says_so(
    settings: dict[str, str], said: str, media: FakeMediaServer, redis: RedisServer
) -> None:
    given = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": media.addr, **settings}
    async with ProxyProcess(ON_BAD_SETTINGS="forward", **given) as proxy, Gateway(proxy.addr) as gateway:
        for _ in range(2):
            assert (await gateway.read()).x_cache in {"bypass", "miss"}
        assert len(media.media.calls) == 2
        status, text = await proxy.probe("/readyz")
        assert (status, text[:28]) == (200, "ok; nothing is cached: " + said[:5])
        assert said in text
        assert "secret" not in text + proxy.stderr + proxy.stdout
        assert await proxy.metric("media_cache_bad_settings") >= 1
        (line, *_) = await proxy.logged("a setting is wrong: calls are forwarded, nothing is cached")
        assert '"level":"error"' in line.replace(": ", ":").replace("ERROR", "error")


@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD)
async def test_by_hand_it_ends_with_status_2(settings: dict[str, str], said: str) -> None:
    proxy = ProxyProcess(**settings)
    proxy.child.spawn()
    try:
        assert await proxy.exited() in {1, 2}
        assert said in proxy.stderr
    finally:
        proxy.remove()


async def test_what_is_right_is_cached_as_ever(media: FakeMediaServer, redis: RedisServer) -> None:
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": media.addr}
    async with ProxyProcess(ON_BAD_SETTINGS="forward", **settings) as proxy, Gateway(proxy.addr) as gateway:
        assert (await gateway.read()).x_cache == "miss"
        assert await proxy.probe("/readyz") == (200, "ok\n")
        assert await proxy.metric("media_cache_bad_settings") == 0


async def test_addresses_that_are_not_set_are_none_where_it_says_so(media: FakeMediaServer) -> None:
    proxy = ProxyProcess(UNSET_ADDRS="none", MEDIA_SERVICE_ADDR=media.addr)
    assert proxy.child.env is not None
    proxy.child.env = {
        name: text for name, text in proxy.child.env.items() if name not in {"REDIS_ADDR", "RABBITMQ_ADDR"}
    }
    async with proxy:
        _, text = await proxy.probe("/metrics")
        assert 'dependency="redis"' not in text
        assert 'dependency="rabbitmq"' not in text


def taken(*faults: str, **values: Any) -> Taken:
    return Taken.of({**DEFAULTS, "on_bad_settings": "forward", **values}, faults)


def test_events_are_left_to_others() -> None:
    """They share the queue: who cannot apply an event must not take it from them."""
    assert taken("CACHE_NAMESPACE: 'a b' is not understood").settings.rabbitmq_addr == ()


def test_without_its_token_there_is_no_admin_server() -> None:
    assert taken("ADMIN_TOKEN: '***' is not understood").settings.admin_addr == ""


def test_the_proxy_itself_as_media_service_is_nowhere() -> None:
    found = taken(media_service_addr="localhost:50066")
    assert found.settings.media_service_addr.endswith(".invalid:50056")
    assert found.faults[0].startswith("MEDIA_SERVICE_ADDR: ")


def test_upstream_stays_behind_tls() -> None:
    found = taken(upstream_tls="on", upstream_tls_server_name="media.test", upstream_tls_cert="/c")
    assert (found.settings.upstream_tls, found.settings.upstream_tls_server_name) == ("on", "media.test")
    assert found.settings.upstream_tls_cert == ""


def test_callers_never_lose_the_tls_that_protects_them() -> None:
    with pytest.raises(SettingError, match="LISTEN_TLS_KEY"):
        taken(listen_addr="0.0.0.0:50066", listen_tls_cert="/c")
    assert taken(listen_tls_cert="/c").settings.listen_tls_cert == ""


def test_a_second_failure_for_the_same_reason_ends_it() -> None:
    error = SettingError("REDIS_TLS_CA: '/x' cannot be used")
    first = taken().after(error)
    with pytest.raises(SettingError, match="REDIS_TLS_CA"):
        first.after(error)
    with pytest.raises(SettingError, match="REDIS_TLS_CA"):
        Taken.of(DEFAULTS, ()).after(error)


def test_where_only_the_policy_is_wrong_all_else_stays_as_it_is() -> None:
    error = BadPolicyError("p.yaml:1:1: is no YAML")
    found = taken(policy="p.yaml", cache_ttl=60.0).after(error)
    assert found.settings == taken(policy="routes-of:p.yaml", cache_ttl=60.0).settings
    assert found.faults == (PolicyFault(error),)
    assert isinstance(found.faults[0], PolicyFault)
    least = found.after(BadPolicyError("p.yaml: something else"))
    assert (least.settings.cache_ttl, least.settings.policy) == (0.0, "routes-of:p.yaml")


@pytest.mark.usefixtures("each_transport")
@pytest.mark.parametrize("wrong", ["the policy", "something else"])
async def test_calls_find_their_services_all_the_same(wrong: str, media: FakeMediaServer, tmp_path: Path) -> None:
    """By an address that the environment gives, as in an injected sidecar."""
    policy = "version: 1\nservices:\n  - {name: media.MediaService, builtin: true}\n"
    if wrong == "the policy":
        policy += "  - {name: product.ProductService, address_variable: PRODUCT_SERVICE_ADDR, descriptors: missing}\n"
    else:
        shutil.copy(EXAMPLES / "product.binpb", tmp_path)
        policy += (
            "  - {name: product.ProductService, address_variable: PRODUCT_SERVICE_ADDR, descriptors: product.binpb}\n"
        )
    (tmp_path / "policy.yaml").write_text(policy)
    given = {"POLICY": str(tmp_path / "policy.yaml"), "MEDIA_SERVICE_ADDR": media.addr, "REDIS_ADDR": ""}
    if wrong == "something else":
        given |= {"REDIS_ADDR": "rediss://localhost:1", "REDIS_TLS_CA": "/no/such.pem"}
    async with running(ProductSettings.read({"LISTEN_ADDR": "localhost:0", "RABBITMQ_ADDR": ""})) as product:
        environment = {**given, "PRODUCT_SERVICE_ADDR": product.address, "ON_BAD_SETTINGS": "forward"}
        async with ProxyProcess(**environment) as proxy, Gateway(proxy.addr) as gateway:
            assert (await gateway.read()).response.success
            async with grpc.aio.insecure_channel(proxy.addr) as channel:
                products = product_pb2_grpc.ProductServiceStub(channel)
                assert (await products.GetAllProducts(product_pb2.GetAllProductsRequest(), timeout=20)).success
