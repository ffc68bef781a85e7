"""proxy.settings.policy_file: what POLICY takes."""

import pytest

from proxy.settings.policy_file import PolicyFile


def test_a_path_or_nothing() -> None:
    assert [PolicyFile().parse(text) for text in ("", "/etc/policy.yaml")] == ["", "/etc/policy.yaml"]


@pytest.mark.parametrize("text", ["a\nb", "x" * 5000, "\x00"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- it names the text, which the setting's error tells
        PolicyFile().parse(text)
