"""proxy.policy.compiled: what events say of keys. Reads and writes are tested where they are compiled."""

import pytest

from proxy.policy.compiled import literal_kind
from tests.policy import SERVICE, compiled


@pytest.mark.parametrize(
    ("pattern", "key", "taken"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#.c", "a.b.c", True),
        ("#", "", True),
        ("*", "a", True),
    ],
)
def test_keys_are_bound_as_topic_exchanges_bind_them(pattern: str, key: str, taken: bool) -> None:
    (event,) = compiled(f"{SERVICE}events: [{{exchange: e, routing_keys: ['{pattern}'], invalidates: '[]'}}]").events
    assert event.takes(key) is taken


def test_the_kinds_of_events_are_of_bounded_number() -> None:
    (event,) = compiled(f"{SERVICE}events: [{{exchange: e, routing_keys: [a.made, 'b.*'], invalidates: '[]'}}]").events
    assert [event.kind(key) for key in ("a.made", "our-queue-made", "b.anything", "")] == [
        "made",
        "made",
        "other",
        "other",
    ]


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
