"""ON_BAD_SETTINGS=forward and a policy that cannot be used: it counts once it can be, without a restart."""

import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from examples.pb import boutique_pb2 as boutique
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from tests.e2e.test_services import TRANSPORTS
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import catalogue_serving

MUG = boutique.GetProductRequest(id="MUG")
WRONG = "a setting is wrong: calls are forwarded, nothing is cached"


def policy(address: str, tag: str = "'product/' + request.id") -> str:
    service = {
        "name": "hipstershop.ProductCatalogService",
        "upstream": address,
        "descriptors": "reflection",
        "reads": [{"method": "GetProduct", "tag": tag, "ttl": "1m"}],
    }
    return json.dumps({"version": 1, "services": [service]})


async def x_cache(call: Any) -> str | None:
    await call
    return dict(await call.trailing_metadata()).get("x-cache")


@TRANSPORTS
@pytest.mark.parametrize("wrong", ["a mistake in it", "it is not there", "nobody tells the descriptors"])
async def test_it_counts_once_it_can_be_used(redis: RedisServer, tmp_path: Path, transport: str, wrong: str) -> None:
    path = tmp_path / "policy.yaml"
    async with catalogue_serving() as (catalogue, address):
        if wrong == "a mistake in it":
            path.write_text(policy(address, "'product/' + request.idd"))
        elif wrong == "nobody tells the descriptors":
            catalogue.mute = True
            path.write_text(policy(address))
        settings = {"MEDIA_SERVICE_ADDR": address, "REDIS_ADDR": redis.addr, "POLICY": str(path)}
        async with (
            ProxyProcess(TRANSPORT=transport, ON_BAD_SETTINGS="forward", **settings) as proxy,
            grpc.aio.insecure_channel(proxy.addr) as channel,
        ):
            stub = ProductCatalogServiceStub(channel)
            for _ in range(2):
                assert await x_cache(stub.GetProduct(MUG)) is None
            assert await proxy.metric("media_cache_bad_settings") == 1
            await proxy.logged(WRONG)
            catalogue.mute = False
            path.write_text(policy(address))

            async def hit() -> bool:
                return await x_cache(stub.GetProduct(MUG)) == "hit"

            await until(hit, "the policy to count", timeout=60)
            assert await proxy.metric("media_cache_bad_settings") == 0
            assert (await proxy.probe("/readyz"))[1].strip() == "ok"
