"""proxy.policy.table: shows what a policy caches."""

from proxy.policy.loading import load_policy
from proxy.policy.table import lines
from tests.policy import EXAMPLES


def test_each_method_with_its_tag_and_ttl() -> None:
    table = [" ".join(line.split()) for line in lines(load_policy(str(EXAMPLES / "product.yaml")))]
    assert table[0] == "METHOD TAG TTL"
    assert "product.ProductService/GetProductByID read 'product/' + string(request.id) CACHE_TTL" in table
    assert (
        "product.ProductService/GetProductBySlug read 'slug/' + request.slug CACHE_TTL, at most 5m (further tags)"
        in table
    )
    assert "product.ProductService/DeleteProduct write ['product/' + string(request.id), 'products']" in table
    assert "media.MediaService/DeleteFile write alias string(request.id), else GetFileByID" in table
    assert any(line.startswith("damar.exchange product.event.created, product.event.updated") for line in table)
