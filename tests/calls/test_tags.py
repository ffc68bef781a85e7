"""proxy.calls.tags: what log lines say about a tag."""

import pytest

from proxy.calls.tags import UNDESCRIBED, Description, kind_of, told_kind


@pytest.mark.parametrize(
    ("tag", "kind"),
    [("user/123", "user"), ("products", "products"), ("a/b/5", "a/b"), ("/5", ""), ("x/", "x"), ("", "")],
)
def test_the_kind_of_a_tag_is_what_stands_before_its_last_slash(tag: str, kind: str) -> None:
    assert kind_of(tag) == kind


def test_a_line_says_what_the_policy_says_or_else_the_tag() -> None:
    assert UNDESCRIBED.to_say_of("product/7") == {"tag": "product/7"}
    assert Description("a mug", {"id": 7}).to_say_of("product/7") == {"id": 7}


def test_what_a_tag_is_of_is_never_a_callers_text_but_of_what_the_policy_describes() -> None:
    described = Description("user avatar", {"model_type": "user"})
    assert told_kind("user/7", described, "") == "user"
    assert told_kind("product/7", UNDESCRIBED, "product") == "product"
    assert told_kind("somebody@example.com", UNDESCRIBED, "") == ""
