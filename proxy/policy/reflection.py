"""Reads descriptors by gRPC server reflection: the server itself describes its services."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from proxy.policy.descriptors import BadDescriptors, Descriptors

_VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The versions of the service, newest first; their messages are the same on the wire."""
_ELSE = "a server with reflection, or a file"
_MOST_FILES = 1000
_OWN = ("grpc.reflection.", "grpc.health.")

Request: Any = reflection_pb2.ServerReflectionRequest
Response: Any = reflection_pb2.ServerReflectionResponse


def ask(channel: grpc.Channel, *services: str, timeout: float = 10.0) -> Descriptors:
    """The descriptors of these services, or if none is named, of all that the server lists; raises BadDescriptors.

    `timeout` bounds each request, in seconds.
    """
    problem = ""
    for version in _VERSIONS:
        try:
            names = services or tuple(_names(channel, version, timeout))
            return Descriptors(_files(channel, version, names, timeout))
        except grpc.RpcError as error:
            code = error.code()
            problem = f"{code.name}: {error.details()}"
            if code is not grpc.StatusCode.UNIMPLEMENTED:
                break
    raise BadDescriptors(f"cannot be read by reflection ({problem}); accepted: {_ELSE}")


def _names(channel: grpc.Channel, version: str, timeout: float) -> Iterator[str]:
    for answer in _call(channel, version, [Request(list_services="*")], timeout):
        for service in answer.list_services_response.service:
            if not service.name.startswith(_OWN):
                yield service.name


def _files(
    channel: grpc.Channel, version: str, services: tuple[str, ...], timeout: float
) -> list[descriptor_pb2.FileDescriptorProto]:
    """The proto files of these services and all that they import, requested level by level."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    requests = [Request(file_containing_symbol=name) for name in services]
    while requests:
        for answer in _call(channel, version, requests, timeout):
            if answer.HasField("error_response"):
                raise BadDescriptors(
                    f"cannot be read by reflection: {answer.error_response.error_message}; accepted: {_ELSE}"
                )
            for data in answer.file_descriptor_response.file_descriptor_proto:
                file = _file(data)
                found[file.name] = file
        if len(found) > _MOST_FILES:
            raise BadDescriptors(f"has too many files; accepted: at most {_MOST_FILES}")
        missing = {name for file in found.values() for name in file.dependency} - found.keys()
        requests = [Request(file_by_filename=name) for name in sorted(missing)]
    return list(found.values())


def _file(data: bytes) -> descriptor_pb2.FileDescriptorProto:
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(data)
    except DecodeError:
        raise BadDescriptors(
            f"cannot be read by reflection: the server sent no descriptor; accepted: {_ELSE}"
        ) from None


def _call(channel: grpc.Channel, version: str, requests: list[Any], timeout: float) -> Iterator[Any]:
    method = channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return iter(method(iter(requests), timeout=timeout))
