"""proxy.policy.builtin.old_keys: the keys of the gateway's own cache."""

import pytest

from proxy.calls.tags import Description
from proxy.policy.builtin.model import Model
from proxy.policy.builtin.old_keys import old_keys


@pytest.mark.parametrize(
    ("model", "collection", "keys"),
    [
        (Model.of("user", 1), "avatars", (b"user:1:avatar", b"media:user:1:avatars", b"media:User:1:avatars")),
        (Model.of("product", -7), "", (b"media:product:-7:", b"media:Product:-7:")),
    ],
)
def test_the_names_of_its_keys(model: Model, collection: str, keys: tuple[bytes, ...]) -> None:
    assert old_keys(model, model.described(collection)) == keys


def test_it_holds_nothing_of_other_services() -> None:
    assert old_keys("product/7", Description("", {"id": 7})) == ()
