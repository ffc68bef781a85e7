"""proxy.policy.compiling_events: compiles a policy's events to plain callables."""

import json

import pytest

from proxy.policy.bodies import BadBody
from proxy.policy.compiled_events import Event
from tests.policy import SERVICE, compiled, mistakes


def event(text: str) -> Event:
    (found,) = compiled(
        f"{SERVICE}events:\n  - {{exchange: shop, routing_keys: [product.updated, product.#], {text}}}"
    ).events
    return found


def tags(text: str, body: bytes) -> tuple[str, ...]:
    return event(text).tags_of(body, "product.updated")[0]


def test_an_event_is_its_json_its_declared_fields_or_a_message() -> None:
    named = "invalidates: \"['product/' + string(event.id), 'products']\""
    both = ("product/7", "products")
    assert tags(named, b'{"id": 7}') == both
    assert tags(f"body: envelope, {named}", json.dumps({"data": {"id": 7}}).encode()) == both
    assert tags(f"fields: {{id: int64}}, {named}", b'{"id": "7"}') == both
    assert tags(f"body: product.Product, {named}", b"\x08\x07") == both
    assert tags(f"body: product.Product, message_of: product.ProductService, {named}", b"\x08\x07") == both


def test_where_tags_cannot_be_told_it_says_which_part_is_at_fault() -> None:
    for text, body, reason in (
        ('invalidates: "[string(event.id)]"', b"{}", "invalidates"),
        ('invalidates: "[event.name]"', b'{"name": ""}', "invalidates"),
        ('fields: {id: int64}, invalidates: "[string(event.id)]"', b"{}", "id"),
    ):
        with pytest.raises(BadBody) as failed:
            tags(text, body)
        assert failed.value.reason == reason


def test_its_queue_and_what_becomes_of_an_unreadable_message() -> None:
    plain, own = event("invalidates: '[]'"), event("queue: mine, unreadable: drop, invalidates: '[]'")
    assert (plain.queue, plain.flushes) == ("shop.product.updated", True)
    assert (own.queue, own.flushes) == ("mine", False)


def test_log_lines_of_an_event() -> None:
    found = event("subject: \"'product ' + string(event.id)\", log: {id: event.id}, invalidates: '[]'")
    described = found.tags_of(b'{"id": 7}', "product.updated")[1]
    assert (described.subject, described.fields) == ("product 7", {"id": 7})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{exchange: e, routing_keys: [], invalidates: '[]'}", "6:19: event: routing_keys: is empty"),
        (
            "{exchange: e, routing_keys: k, body: Nope, invalidates: '[]'}",
            "event: body: unknown body 'Nope'; accepted: json",
        ),
        (
            "{exchange: e, routing_keys: k, body: product.Product, fields: {a: text}, invalidates: '[]'}",
            "has its own fields; accepted",
        ),
        (
            "{exchange: e, routing_keys: k, fields: {a: text}, invalidates: '[event.b]'}",
            "unknown field 'b'; accepted: a",
        ),
        (
            "{exchange: e, routing_keys: k, fields: {a: text?}, invalidates: '[event.a]'}",
            "the tag is empty if no field",
        ),
        ("{exchange: e, routing_keys: k, fields: {a: int}, invalidates: '[]'}", "accepted: text, int64, text?, int64?"),
        ("{exchange: e, routing_keys: k}", "event: invalidates is missing"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(text: str, told: str) -> None:
    found = mistakes(f"{SERVICE}events:\n  - {text}")
    assert any(told in line for line in found), found


def test_two_events_do_not_share_a_queue() -> None:
    one = "{exchange: e, routing_keys: k, invalidates: '[]'}"
    (found,) = mistakes(f"{SERVICE}events:\n  - {one}\n  - {one}")
    assert "the queue 'e.k' is another event's" in found
