"""proxy.policy.descriptors: reads a service's methods and messages from a FileDescriptorSet."""

import pytest
from google.protobuf import descriptor_pb2

from proxy.policy.descriptors import MOST_BYTES, BadDescriptors, Descriptors
from tests.policy import PRODUCT, streaming


def test_services_methods_and_messages() -> None:
    descriptors = Descriptors.of(PRODUCT)
    assert list(descriptors.services()) == ["product.ProductService"]
    method = descriptors.methods("product.ProductService")["GetProductByID"]
    assert (method.path, method.unary, method.reads) == ("/product.ProductService/GetProductByID", True, False)
    assert descriptors.message("product.Product")(id=7).SerializeToString() == b"\x08\x07"
    with pytest.raises(KeyError):
        descriptors.methods("product.Nope")


def test_streams_and_methods_without_side_effects_are_told() -> None:
    methods = streaming().methods("s.Streams")
    assert {name: (method.unary, method.reads) for name, method in methods.items()} == {
        "Up": (False, False),
        "Down": (False, False),
        "Plain": (True, True),
    }


def file_set(*files: descriptor_pb2.FileDescriptorProto) -> bytes:
    return descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()


def file(name: str, *imports: str) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto(name=name, package=name.partition(".")[0], dependency=imports)


def test_files_may_come_in_any_order_and_without_protobufs_own() -> None:
    importer = file("a.proto", "b.proto", "google/protobuf/timestamp.proto")
    importer.message_type.add(name="M").field.add(
        name="at", number=1, label=1, type=11, type_name=".google.protobuf.Timestamp"
    )
    assert Descriptors.of(file_set(importer, file("b.proto"))).message("a.M")().ByteSize() == 0


def broken() -> descriptor_pb2.FileDescriptorProto:
    made = file("a.proto")
    made.message_type.add(name="M").field.add(name="x", number=1, label=1, type=11, type_name=".no.Such")
    return made


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff", "is not a FileDescriptorSet; accepted: what protoc"),
        (b"", "contains no file; accepted: what protoc"),
        (
            file_set(file("a.proto", "b.proto")),
            "lacks b.proto, which a.proto imports; accepted: what protoc --include_imp",
        ),
        (file_set(file("a.proto", "b.proto"), file("b.proto", "a.proto")), "cannot be used: a.proto imports itself"),
        (file_set(broken()), "cannot be used: "),
        (b"x" * (MOST_BYTES + 1), "is too long; accepted: at most 16 MiB"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, told: str) -> None:
    with pytest.raises(BadDescriptors) as failed:
        Descriptors.of(data)
    assert str(failed.value).startswith(told)
