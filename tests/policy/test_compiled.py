"""proxy.policy.compiled: the kinds of methods' tags. Everything else is tested where it is compiled."""

from tests.policy import SERVICE, compiled

READ = "    reads: [{method: GetProductByID, tag: \"'product/' + string(request.id)\"}]\n"
WRITE = "    writes: [{method: UpdateProduct, invalidates: \"['products']\"}]\n"


def test_the_kind_of_a_methods_tags_is_the_policys_own_word() -> None:
    service = compiled(f"{SERVICE}{READ}{WRITE}").services["product.ProductService"]
    (read,), (write,) = service.reads.values(), service.writes.values()
    assert (read.kind, write.kind) == ("product", "products")
