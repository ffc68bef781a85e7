"""proxy.policy.starter: a policy to begin with."""

import re

import yaml

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
