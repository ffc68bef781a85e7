"""`Descriptors`: a service's methods and messages, from a FileDescriptorSet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

MOST_BYTES = 16 << 20
"""The largest file that is read; the set of the largest public API has 10 MiB."""
_WELL_KNOWN = (
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
    "google/protobuf/descriptor.proto",
)


class BadDescriptors(Exception):  # noqa: N818 -- it is told to a person, not raised to a caller
    """Descriptors that cannot be read or used; the text says why and what is accepted."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service."""

    path: str
    """The path on the wire, like `/shop.Products/Get`."""
    name: str
    request: Descriptor
    response: Descriptor
    unary: bool
    reads: bool
    """Its `idempotency_level` is NO_SIDE_EFFECTS."""


class Descriptors:
    """The services and messages of one set of proto files, in a pool of their own. Raises BadDescriptors."""

    def __init__(self, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self._files = {each.name: each for each in files}
        self._added: set[str] = set()
        for name in list(self._files):
            self._add(name, ())

    @classmethod
    def of(cls, data: bytes) -> "Descriptors":
        """The descriptors in a serialized FileDescriptorSet; raises BadDescriptors."""
        if len(data) > MOST_BYTES:
            raise BadDescriptors(f"is too long; accepted: at most {MOST_BYTES >> 20} MiB")
        files = descriptor_pb2.FileDescriptorSet()
        try:
            files.ParseFromString(data)
        except DecodeError:
            raise BadDescriptors(f"is not a FileDescriptorSet; accepted: {_HOW}") from None
        if not files.file:
            raise BadDescriptors(f"contains no file; accepted: {_HOW}")
        return cls(files.file)

    @property
    def data(self) -> bytes:
        """The set as a serialized FileDescriptorSet."""
        return descriptor_pb2.FileDescriptorSet(file=self._files.values()).SerializeToString()

    def services(self) -> Iterator[str]:
        """The full names of all services."""
        for file in self._files.values():
            prefix = f"{file.package}." if file.package else ""
            yield from (prefix + service.name for service in file.service)

    def methods(self, service: str) -> dict[str, Method]:
        """The methods of a service by name; raises KeyError if there is no such service."""
        found: ServiceDescriptor = self.pool.FindServiceByName(service)
        return {method.name: _method(service, method) for method in found.methods}

    def message(self, name: str) -> type[Message]:
        """The class of a message type, by its full name; raises KeyError if there is no such type."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def _add(self, name: str, importers: tuple[str, ...]) -> None:
        """Adds a file after the files that it imports. `importers` is the chain that led to it."""
        if name in self._added:
            return
        if name in importers:
            raise BadDescriptors(f"cannot be used: {name} imports itself; accepted: {_HOW}")
        file = self._files.get(name) or _well_known(name)
        if file is None:
            raise BadDescriptors(f"lacks {name}, which {importers[-1]} imports; accepted: {_HOW}")
        for imported in file.dependency:
            self._add(imported, (*importers, name))
        try:
            self.pool.Add(file)
        except (TypeError, ValueError) as error:
            raise BadDescriptors(f"cannot be used: {str(error).splitlines()[0]}; accepted: {_HOW}") from None
        self._added.add(name)


_HOW = "what protoc --include_imports --descriptor_set_out, or buf build -o, writes"


def _well_known(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    """One of protobuf's own files, which a set may leave out; None for any other name."""
    if name not in _WELL_KNOWN:
        return None
    from google.protobuf import (  # noqa: F401, PLC0415 -- importing them fills the default pool; few policies need it
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    file = descriptor_pb2.FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    return file


def _method(service: str, method: MethodDescriptor) -> Method:
    options = method.GetOptions()
    return Method(
        path=f"/{service}/{method.name}",
        name=method.name,
        request=method.input_type,
        response=method.output_type,
        unary=not (method.client_streaming or method.server_streaming),
        reads=options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
    )
