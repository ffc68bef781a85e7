"""proxy.policy.explaining: what a policy does with one call."""

import pytest
from grpc import StatusCode

from proxy.policy.explaining import explained
from proxy.policy.failures import ExpressionError
from proxy.policy.jsonish import BadMessage
from proxy.policy.loading import load_policy
from tests.policy import EXAMPLES, SERVICE, compiled

PRODUCT = load_policy(str(EXAMPLES / "product.yaml"))


def test_a_read_and_its_answer() -> None:
    answer = {"success": True, "data": {"id": 7}}
    told = dict(explained(PRODUCT, "GetProductBySlug", {"slug": "mug"}, answer))
    assert told.pop("digest")
    assert told == {
        "method": "product.ProductService/GetProductBySlug, a read",
        "tag": "slug/mug",
        "bypass": "no",
        "ttl": "CACHE_TTL",
        "vary": "CACHE_VARY_METADATA",
        "metadata": "keyed",
        "stored": "yes, for 5m at most (with CACHE_TTL at 1h)",
        "further tags": "product/7",
        "aliases": "none",
    }
    assert dict(explained(PRODUCT, "GetProductBySlug", {"slug": "mug"}, {}))["stored"].startswith("no: ")


def test_a_read_that_is_answered_with_a_status() -> None:
    kept = "ttl: 1h, negative_ttl: {NOT_FOUND: 30s}"
    policy = compiled(f"{SERVICE}    reads: [{{method: GetProductBySlug, tag: \"'slug/' + request.slug\", {kept}}}]")
    told = dict(explained(policy, "GetProductBySlug", {"slug": "mug"}, None, StatusCode.NOT_FOUND))
    assert told["stored"] == "yes, for 30s at most (with CACHE_TTL at 1h)"
    told = dict(explained(policy, "GetProductBySlug", {"slug": "mug"}, None, StatusCode.UNAVAILABLE))
    assert told["stored"] == "no: its status is UNAVAILABLE"


def test_a_write() -> None:
    assert explained(load_policy(""), "/media.MediaService/DeleteFile", {"id": 5}, None) == [
        ("method", "media.MediaService/DeleteFile, a write"),
        ("invalidates", "no tag that the request names"),
        ("alias", "5"),
        ("look_up", "media.MediaService/GetFileByID, if no stored answer has contained the alias"),
    ]


def test_what_it_does_not_know_is_told() -> None:
    with pytest.raises(BadMessage, match="unknown method 'Nope'; accepted: "):
        explained(PRODUCT, "Nope", {}, None)
    with pytest.raises(BadMessage, match="no field named"):
        explained(PRODUCT, "GetProductBySlug", {"nope": 1}, None)
    failing = compiled(f'{SERVICE}    reads: [{{method: GetProductByID, tag: "string(1 / request.id)"}}]')
    with pytest.raises(ExpressionError):
        explained(failing, "GetProductByID", {}, None)
