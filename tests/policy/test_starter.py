"""proxy.policy.starter: writes a policy to begin with."""

import re

import pytest
import yaml
from google.protobuf import descriptor_pb2

from proxy.policy.descriptors import Descriptors
from proxy.policy.starter import starter
from tests.policy import PRODUCT, compiled, streaming

TEXT = starter(Descriptors.of(PRODUCT), file="p.yaml", source="product.binpb", upstream="product:50055")


def test_it_can_be_served_and_caches_nothing_yet() -> None:
    service = compiled(TEXT).services["product.ProductService"]
    assert (service.reads, service.writes, service.upstream) == ({}, {}, "product:50055")


def test_with_its_marks_of_comment_removed_every_guess_can_be_served() -> None:
    service = compiled(re.sub(r"(?m)^    # (?=reads|writes|  )", "    ", TEXT)).services["product.ProductService"]
    assert {read.name: read.said["tag"] for read in service.reads.values()} == {
        "GetProductByID": "'product/' + string(request.id)",
        "GetProductBySlug": "'product/' + request.slug",
        "GetAllProducts": "'products'",
    }
    assert {write.name for write in service.writes.values()} == {"CreateProduct", "UpdateProduct", "DeleteProduct"}


def test_reads_are_told_by_the_proto_and_streams_are_named() -> None:
    text = starter(streaming(), file="p.yaml", source="s.binpb", upstream="s:1")
    assert "#   - method: Plain" in text.partition("reads:")[2]
    assert "# Up is a stream" in text
    assert yaml.safe_load(text)["services"] == [{"name": "s.Streams", "upstream": "s:1", "descriptors": "s.binpb"}]


@pytest.mark.parametrize(
    ("service", "method", "tag"),
    [
        ("shop.Products", "GetProductByID", "'product/' + string(request.id)"),
        ("shop.Products", "ArchiveProduct", "'product/' + string(request.id)"),
        ("shop.Products", "ListAllProducts", "'products'"),
        ("shop.Products", "SearchSKUs", "'skus'"),
        ("shop.StockService", "Get", "'stock/' + string(request.id)"),
        ("shop.StockService", "Set", "'stock/' + string(request.id)"),
        ("shop.Service", "Get", "'get/' + string(request.id)"),
        ("Orders", "Watch", "'watch/' + string(request.id)"),
        ("Orders", "Cancel", "'cancel/' + string(request.id)"),
    ],
)
def test_a_guess_is_about_what_the_names_say(service: str, method: str, tag: str) -> None:
    package, _, name = service.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package=package, syntax="proto3")
    message = file.message_type.add(name="M")
    message.field.add(name="id", number=1, type=3, label=1)
    kind = f".{package}.M" if package else ".M"
    file.service.add(name=name).method.add(name=method, input_type=kind, output_type=kind)
    text = starter(Descriptors([file]), file="p.yaml", source="s.binpb", upstream="s:1")
    assert (f'tag: "{tag}"' in text) or (f'invalidates: "[{tag}, ' in text)


def test_what_is_of_several_things_already_has_no_second_plural() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="Orders").method.add(name="CancelOrders", input_type=".M", output_type=".M")
    text = starter(Descriptors([file]), file="p.yaml", source="s.binpb", upstream="s:1")
    assert "['orders', 'orders']" in text
