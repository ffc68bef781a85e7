"""proxy.policy.spellings: how databases may fold a text. `builtin/test_model.py` tries every letter."""

import pytest

from proxy.policy.spellings import foldings, is_plain


@pytest.mark.parametrize("text", ["", "user", "USER", "Ärzte", "用户"])
def test_of_a_plain_text_there_is_one(text: str) -> None:
    assert is_plain(text)
    assert foldings(text) == (text.casefold(),)


@pytest.mark.parametrize(("text", "all_of_them"), [("Straße", {"strasse", "straße"}), ("İtem", {"i\u0307tem", "item"})])
def test_of_another_there_are_several_unicodes_own_first(text: str, all_of_them: set[str]) -> None:
    assert not is_plain(text)
    assert set(foldings(text)) == all_of_them
    assert foldings(text)[0] == text.casefold()
