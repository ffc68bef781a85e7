"""proxy.policy.sharing: which services' answers depend on which services' tags."""

from pathlib import Path

import pytest

from proxy.policy.builtin.media import media_policy
from proxy.policy.loading import load_policy
from proxy.policy.sharing import concerned
from tests.policy import CONSTANTS
from tests.support.services import policy_in

MEDIA, PRODUCT, SHOP = "media.MediaService", "product.ProductService", "hipstershop.ProductCatalogService"


@pytest.mark.parametrize(
    ("further", "of", "also"),
    [
        ("[]", PRODUCT, set()),
        ("['slug/x']", PRODUCT, {SHOP}),
        ("response.products.map(p, 'product/' + p.id)", PRODUCT, {SHOP}),
        ("response.products.map(p, 'product/' + p.id)", MEDIA, set()),
        ("response.products.map(p, 'user/' + p.id)", MEDIA, {SHOP}),
        ("response.products.map(p, 'user/' + p.id)", PRODUCT, set()),
        ("response.products.map(p, p.id)", MEDIA, {SHOP}),
        ("response.products.map(p, p.id)", PRODUCT, {SHOP}),
        ("[]", "another.Service", set()),
    ],
)
def test_those_whose_further_tags_may_be_of_it(tmp_path: Path, further: str, of: str, also: set[str]) -> None:
    """In this policy, the catalogue's own tags do not belong to the product service."""
    tag = "tag: \"'products'\"\n        ttl: 1m\n"
    changed = f'tag: "\'catalogue\'"\n        ttl: 1m\n        further_tags: "{further}"\n'
    text = Path(policy_in(tmp_path, product="p:1", catalogue="c:1")).read_text()
    head, found, tail = text.rpartition(tag)
    assert found
    text = head + changed + tail.replace("'product/' + request.id", "'catalogue/' + request.id")
    (tmp_path / "policy.yaml").write_text(text)
    assert concerned(load_policy(str(tmp_path / "policy.yaml")), {of}) == {of} | also


def test_those_whose_answers_lie_under_tags_of_it(tmp_path: Path) -> None:
    policy = load_policy(policy_in(tmp_path, product="p:1", catalogue="c:1"))
    assert concerned(policy, {PRODUCT}) == {PRODUCT, SHOP}
    assert concerned(policy, {SHOP}) == {PRODUCT, SHOP}
    assert concerned(policy, {MEDIA}) == {MEDIA}


def test_the_built_in_policy_is_alone() -> None:
    assert concerned(media_policy(CONSTANTS), {MEDIA}) == {MEDIA}
