"""`Health` and `Reflection`: what the listener answers about itself.

Their handlers precede the one that forwards everything else, because a caller that asks the proxy for health means the
proxy's own. They are generic handlers rather than registered methods, because grpc.aio waits for each registered method
separately, at a cost to every call (measured with five of them: 10 us).
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
_HEALTH_SERVICE = "grpc.health.v1.Health"
_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"


class Health:
    """The health service: SERVING for the listener and for `services`, until draining."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = tuple(services)
        self._servicer = health_aio.HealthServicer()
        self._status = _SERVING

    async def handler(self) -> grpc.GenericRpcHandler:
        """The handler to register with a server."""
        for service in self._services:
            await self._servicer.set(service, self._status)
        request, answer = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(self._servicer.Check, request, answer),
            "Watch": grpc.unary_stream_rpc_method_handler(self._servicer.Watch, request, answer),
            "List": grpc.unary_unary_rpc_method_handler(
                self._list, health_pb2.HealthListRequest.FromString, health_pb2.HealthListResponse.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler(_HEALTH_SERVICE, methods)

    async def take_up(self, services: Iterable[str]) -> None:
        """Replaces the services by those of another policy; watchers of a removed service are told."""
        gone, self._services = set(self._services) - {*services}, tuple(services)
        for service in gone:
            await self._servicer.set(service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        for service in self._services:
            await self._servicer.set(service, self._status)

    async def draining(self) -> None:
        """Reports NOT_SERVING from now on, permanently; watchers are told."""
        self._status = _NOT_SERVING
        await self._servicer.enter_graceful_shutdown()

    async def _list(self, _request: health_pb2.HealthListRequest, _context: object) -> health_pb2.HealthListResponse:
        # The servicer of grpcio-health-checking does not implement this method.
        status = health_pb2.HealthCheckResponse(status=self._status)
        return health_pb2.HealthListResponse(statuses={"": status, **dict.fromkeys(self._services, status)})


class Reflection:
    """The reflection service, for the policy's services, health and itself, as v1 and as v1alpha.

    grpcio-reflection has only v1alpha. v1 is the same on the wire, so one servicer answers both. Without v1, requests
    of new clients would be forwarded to upstream.
    """

    def __init__(self, described: Mapping[str, DescriptorPool]) -> None:
        """`described`: for each service's name, the pool that describes it. Two services may have different files of
        the same name, so each has its own pool.
        """
        self._own = _own()
        self.take_up(described)

    def take_up(self, described: Mapping[str, DescriptorPool]) -> None:
        """Replaces the services; later requests see the new ones."""
        names = (*described, _HEALTH_SERVICE, f"{_OLD}.ServerReflection", f"{_NEW}.ServerReflection")
        self._servicer = reflection_aio.ReflectionServicer(names, pool=_Described(described, self._own))

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The handlers to register with a server."""
        method = grpc.stream_stream_rpc_method_handler(
            self._answers,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(f"{package}.ServerReflection", {"ServerReflectionInfo": method})
            for package in (_OLD, _NEW)
        ]

    async def _answers(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for answer in self._servicer.ServerReflectionInfo(requests, context):
            yield answer


class _Described:
    """Presents the files of several pools as one pool. Symbols of a service are searched in the service's own pool;
    Python's pools do not find methods of services by name.
    """

    def __init__(self, described: Mapping[str, DescriptorPool], own: DescriptorPool) -> None:
        self._described = described
        self._pools = tuple(dict.fromkeys((own, *described.values())))

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 -- protobuf's name
        """Raises KeyError for an unknown name."""
        service, _, method = symbol.rpartition(".")
        for name in (symbol, service):
            if name in self._described:
                file: FileDescriptor = self._described[name].FindServiceByName(name).file
                if name == service and method not in file.services_by_name[name.rpartition(".")[2]].methods_by_name:
                    raise KeyError(symbol)
                return file
        found: FileDescriptor = self._first(lambda pool: pool.FindFileContainingSymbol(symbol))
        return found

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802
        """Raises KeyError for an unknown name."""
        found: FileDescriptor = self._first(lambda pool: pool.FindFileByName(name))
        return found

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802
        """Raises KeyError for an unknown name."""
        found: Descriptor = self._first(lambda pool: pool.FindMessageTypeByName(name))
        return found

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:  # noqa: N802
        """Raises KeyError for an unknown number."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:  # noqa: N802
        """The extensions in the message's own pool."""
        return list(message.file.pool.FindAllExtensions(message))

    def _first(self, find: Callable[[DescriptorPool], Any]) -> Any:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError("in no pool")


def _own() -> DescriptorPool:
    """A pool with only the descriptors of health and reflection."""
    pool = DescriptorPool()
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_v1_reflection().SerializeToString())
    return pool


def _v1_reflection() -> FileDescriptorProto:
    """The file of v1: that of v1alpha with another package (https://github.com/grpc/grpc-proto, reflection/v1)."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    text = text_format.MessageToString(file).replace(f'"{_OLD}"', f'"{_NEW}"').replace(f".{_OLD}.", f".{_NEW}.")
    file = text_format.Parse(text, FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    return file
