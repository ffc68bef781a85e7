"""proxy.policy.compiled: what an expression says of its tags. Reads and writes are tested where they are compiled."""

import pytest

from proxy.policy.compiled import literal_kind


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("'product/' + string(request.id)", "product"),
        ("'products'", "products"),
        ('["slug/" + request.slug]', "slug"),
        ("'products of ' + string(request.shop_id)", "products of"),
        ("request.model_type + '/' + string(request.model_id)", ""),
        ("", ""),
    ],
)
def test_the_kind_of_tags_is_what_their_expression_begins_with(expression: str, kind: str) -> None:
    assert literal_kind(expression) == kind
