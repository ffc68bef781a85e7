"""Health and reflection as clients use them, on a running listener."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from proxy.policy.descriptors import Descriptors
from proxy.transport.admission import Admission
from tests.policy import PRODUCT
from tests.support.raw_upstream import Chain

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = {
    "media.MediaService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.reflection.v1.ServerReflection",
}


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with Chain() as chain:
        yield chain


async def check(chain: Chain, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(chain.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
    return int(answer.status)


@pytest.mark.parametrize("service", ["", "media.MediaService"])
async def test_healthy_until_draining(chain: Chain, service: str) -> None:
    assert await check(chain, service) == SERVING
    await chain.listener._health.draining()
    assert await check(chain, service) == NOT_SERVING
    assert chain.raw.seen == []


async def test_all_health_can_be_listed(chain: Chain) -> None:
    stub = health_pb2_grpc.HealthStub(chain.channel)
    for expected in (SERVING, NOT_SERVING):
        answer = await stub.List(health_pb2.HealthListRequest(), timeout=30)
        statuses = {name: one.status for name, one in answer.statuses.items()}
        assert statuses == {"": expected, "media.MediaService": expected}
        await chain.listener._health.draining()


async def test_a_watcher_is_told_of_draining(chain: Chain) -> None:
    stub = health_pb2_grpc.HealthStub(chain.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="media.MediaService"), timeout=30)
    assert (await watch.read()).status == SERVING
    await chain.listener._health.draining()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_the_health_of_a_service_that_is_not_ours_is_not_found(chain: Chain) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await check(chain, "other.Service")
    assert raised.value.code() is StatusCode.NOT_FOUND


async def test_health_and_reflection_are_not_limited() -> None:
    async with Chain(admission=Admission(0)) as chain:
        assert await check(chain, "") == SERVING
        assert await ask(chain, "v1", reflection_pb2.ServerReflectionRequest(list_services=""))


async def ask(
    chain: Chain, version: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """Makes one query, on the wire as a client of that version sends it."""
    call = chain.stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    await call.write(request.SerializeToString())
    await call.done_writing()
    answer = await call.read()
    assert await call.read() is grpc.aio.EOF
    return reflection_pb2.ServerReflectionResponse.FromString(answer)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_services_are_listed(chain: Chain, version: str) -> None:
    answer = await ask(chain, version, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert {service.name for service in answer.list_services_response.service} == SERVICES
    assert chain.raw.seen == []


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize("service", sorted(SERVICES))
async def test_every_listed_service_is_described(chain: Chain, version: str, service: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    answer = await ask(chain, version, request)
    pool = DescriptorPool()
    for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
        pool.AddSerializedFile(file)
    assert pool.FindServiceByName(service).methods


async def test_what_is_not_ours_is_not_found(chain: Chain) -> None:
    """The process has more descriptors than callers may see."""
    for symbol in ("google.protobuf.FileDescriptorProto", "no.Such"):
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        answer = await ask(chain, "v1", request)
        assert answer.error_response.error_code == StatusCode.NOT_FOUND.value[0]


async def test_a_client_calls_a_method_it_knows_from_reflection_alone(chain: Chain) -> None:
    def describe() -> tuple[str, list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{chain.port}") as channel:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            method = pool.FindServiceByName("media.MediaService").FindMethodByName("GetFilesByModel")
            return method.input_type.full_name, [field.name for field in method.input_type.fields]

    name, fields = await asyncio.to_thread(describe)
    assert name == "media.GetFilesByModelRequest"
    assert fields == ["model_type", "model_id", "collection_name", "page", "per_page"]


async def test_a_method_is_described_by_its_full_name(any_chain: Chain) -> None:
    """As `grpcurl describe media.MediaService.GetFilesByModel` asks."""
    for version in ("v1", "v1alpha"):
        for symbol, found in (("GetFilesByModel", True), ("NoSuch", False)):
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"media.MediaService.{symbol}")
            answer = await ask(any_chain, version, request)
            assert bool(answer.file_descriptor_response.file_descriptor_proto) is found
            assert (answer.error_response.error_code == StatusCode.NOT_FOUND.value[0]) is not found


async def test_another_policys_services_are_told_of_from_then_on(chain: Chain) -> None:
    stub = health_pb2_grpc.HealthStub(chain.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="media.MediaService"), timeout=30)
    assert (await watch.read()).status == SERVING
    described = {"product.ProductService": Descriptors.of(PRODUCT).pool}
    chain.listener._reflection.take_up(described)
    await chain.listener._health.take_up(described)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()
    assert await check(chain, "product.ProductService") == SERVING
    listed = await ask(chain, "v1", reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in listed.list_services_response.service}
    assert names == {*described, *SERVICES - {"media.MediaService"}}
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="product.ProductService.GetProductByID")
    assert (await ask(chain, "v1", request)).file_descriptor_response.file_descriptor_proto
    await chain.listener._health.draining()
    await chain.listener._health.take_up({"media.MediaService": described["product.ProductService"]})
    assert await check(chain, "media.MediaService") == NOT_SERVING
