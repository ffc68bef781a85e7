"""proxy.policy.compiled_events: how events match routing keys."""

import pytest

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


def test_two_are_the_same_where_all_that_decides_what_is_invalidated_is() -> None:
    plain = f"{SERVICE}events: [{{exchange: e, routing_keys: [a], invalidates: '[]'"
    one, again, subject, other = (
        compiled(f"{plain}{more}}}]").events[0].identity
        for more in ("", "", ", subject: \"'product'\"", ", service: product.ProductService")
    )
    assert one == again == subject != other
