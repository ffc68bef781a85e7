"""proxy.policy.advice: policies that can be served but are probably mistakes."""

import pytest

from proxy.policy.advice import warnings
from proxy.policy.loading import load_policy
from tests.policy import EXAMPLES, SERVICE, compiled

READ = "    reads: [{{method: GetProductByID, tag: \"'product/' + string(request.id)\"{more}}}]\n"


def warned(text: str, more: str = "") -> list[str]:
    return list(warnings(compiled(SERVICE + READ.format(more=more) + text)))


def test_a_tag_that_nothing_names_and_that_lives_long_is_warned_of() -> None:
    (found,) = warned("")
    assert found.startswith(
        "product.ProductService/GetProductByID: no write or event of this policy names its tag (product)"
    )
    assert len(warned("", ", ttl: 301s")) == 1
    assert warned("", ", ttl: 5m") == []


@pytest.mark.parametrize(
    "text",
    [
        "    writes: [{method: UpdateProduct, invalidates: \"['product/' + string(request.id)]\"}]",
        "events: [{exchange: e, routing_keys: k, invalidates: \"['product/' + string(event.id)]\"}]",
        "events: [{exchange: e, routing_keys: k, fields: {i: int64}, invalidates: \"['product/' + string(event.i)]\"}]",
    ],
)
def test_a_tag_that_a_write_or_an_event_names_is_not(text: str) -> None:
    assert warned(text) == []


def test_another_tag_does_not_do() -> None:
    assert len(warned("events: [{exchange: e, routing_keys: k, invalidates: \"['products']\"}]")) == 1


def test_a_further_tag_that_is_named_does() -> None:
    event = "events: [{exchange: e, routing_keys: k, invalidates: \"['id/' + string(event.id)]\"}]"
    assert warned(event, ", further_tags: \"['id/' + string(response.data.id)]\"") == []
    assert len(warned(event)) == 1


def test_a_further_tag_that_nothing_names_removes_nothing() -> None:
    event = "events: [{exchange: e, routing_keys: k, invalidates: \"['product/' + string(event.id)]\"}]"
    (found,) = warned(event, ", further_tags: \"['product/7', 'shop/' + response.data.slug]\"")
    told = "no write or event of this policy names its further tags (shop), so they never remove an answer"
    assert found == f"product.ProductService/GetProductByID: {told}"


def test_a_read_whose_answers_callers_can_shape_is_told_as_open() -> None:
    (found,) = warned("", ", ttl: 1m, metadata: all")
    assert found.startswith("product.ProductService/GetProductByID: is open (metadata: all)")


@pytest.mark.parametrize("name", ["product", "boutique", "media-all"])
def test_the_examples_are_warned_of_what_they_mean(name: str) -> None:
    found = list(warnings(load_policy(str(EXAMPLES / f"{name}.yaml"))))
    assert all(line.startswith("media.MediaService/GetFilesByModel: is open") for line in found)
