"""proxy.policy.heads: what tags begin with, as the text of their expression shows."""

import pytest

from proxy.policy.heads import ANY, Head, heads


@pytest.mark.parametrize(
    ("expression", "begin"),
    [
        ("'products'", {Head("products", whole=True)}),
        ("'product/' + string(request.id)", {Head("product/")}),
        ("\"product/\" + 'x'", {Head("product/")}),
        ("['product/' + string(request.id), 'products']", {Head("product/"), Head("products", whole=True)}),
        ("[]", set()),
        ("['a/' + x] + (request.slug == '' ? [] : ['b/' + request.slug])", {Head("a/"), Head("b/")}),
        ("a ? 'x/' + b : c ? ['y'][0] : 'z'", {Head("x/"), ANY, Head("z", whole=True)}),
        ("a ? b ? 'u' : 'v' : 'w'", {Head(each, whole=True) for each in "uvw"}),
        ("response.items.map(i, 'product/' + i.id)", {Head("product/")}),
        ("response.items.filter(i, i.ok).map(i, i.ok, 'p/' + i.id) + ['q']", {Head("p/"), Head("q", whole=True)}),
        ("response.items.map(i, i.tags.map(t, 'a')[0])", {ANY}),
        ("('a/' + x) + y", {ANY}),
        ("(('a/' + x))", {Head("a/")}),
        ("('A/' + x).lowerAscii()", {ANY}),
        ("request.kind + '/' + request.id", {ANY}),
        ("r'a/' + x", {ANY}),
        ("'a\\'b/' + x", {ANY}),
        ("'''a/''' + x", {ANY}),
        ("['a'].filter(t, true)", {ANY}),
        ("response.tags", {ANY}),
        ("", {ANY}),
        ("['a'", {ANY}),
    ],
)
def test_it_is_told_or_any(expression: str, begin: set[Head]) -> None:
    assert heads(expression) == begin


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (Head("product/"), Head("product/7", whole=True), True),
        (Head("product/"), Head("products", whole=True), False),
        (Head("product"), Head("products", whole=True), True),
        (Head("a/"), Head("a/b"), True),
        (Head("a/"), Head("b/"), False),
        (Head("a", whole=True), Head("a", whole=True), True),
        (Head("a", whole=True), Head("ab", whole=True), False),
        (ANY, Head("x", whole=True), True),
    ],
)
def test_two_meet_where_one_tag_may_be_of_both(one: Head, other: Head, meet: bool) -> None:
    assert one.meets(other) is other.meets(one) is meet
