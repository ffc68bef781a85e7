"""proxy.policy.tags: what a tag may be."""

import pytest

from proxy.policy.failures import ExpressionError
from proxy.policy.tags import LONGEST_TAG, MOST_TAGS, EmptyTagError, checked, checked_all, literal_kind


def test_a_tag_is_bounded_in_bytes() -> None:
    assert checked("é" * (LONGEST_TAG // 2)) == "é" * (LONGEST_TAG // 2)
    for tag in ("é" * (LONGEST_TAG // 2) + "x", "x" * 10_000_000):
        with pytest.raises(ExpressionError, match="longer than 512 bytes"):
            checked(tag)
    with pytest.raises(EmptyTagError):
        checked("")


def test_tags_are_each_once_in_their_order_and_bounded() -> None:
    assert checked_all(["b", "a", "b"]) == ("b", "a")
    assert len(checked_all(str(number) for number in range(MOST_TAGS))) == MOST_TAGS
    with pytest.raises(ExpressionError, match="more than 64 tags"):
        checked_all(str(number) for number in range(MOST_TAGS + 1))
    with pytest.raises(EmptyTagError):
        checked_all(["a", ""])


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
