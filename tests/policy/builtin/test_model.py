"""Two spellings of a model are one model; its id is exact."""

import sys
import unicodedata

import pytest

from proxy.policy.builtin.model import Model
from proxy.policy.spellings import is_plain


def test_the_type_has_no_case() -> None:
    assert Model.of("User", 1) == Model.of("uSER", 1)
    assert Model.of("Straße", 1) == Model.of("STRASSE", 1)
    assert Model.of("user", 1) != Model.of("users", 1)


def test_it_names_a_model_in_sets_and_logs() -> None:
    assert len({Model.of("User", 1), Model.of("user", 1), Model.of("user", 2)}) == 2
    assert str(Model.of("User", 2**63 - 1)) == "user/9223372036854775807"


@pytest.mark.parametrize("model_id", [2**63 - 1, -(2**63), 2**53 + 1, 0])
def test_ids_are_int64(model_id: int) -> None:
    assert Model.of("user", model_id).id == model_id


@pytest.mark.parametrize("model_id", [2**63, -(2**63) - 1, 10**30])
def test_others_are_refused(model_id: int) -> None:
    with pytest.raises(ValueError, match=str(model_id)):
        Model.of("user", model_id)


@pytest.mark.parametrize(
    ("model_type", "collection", "expected"),
    [
        ("user", "avatar", "user avatar"),
        ("User", "avatars", "user avatar"),
        ("user", "", "model media"),
        ("user", "Avatar", "model media"),
        ("product", "avatar", "model media"),
    ],
)
def test_what_log_lines_call_it(model_type: str, collection: str, expected: str) -> None:
    assert Model.of(model_type, 1).described(collection).subject == expected


@pytest.mark.parametrize(
    "model_type", ["user", "USER", "Item", "INVOICE", "Ärzte", "ÄRZTE", "каталог", "\u212aelvin", "用户", ""]
)
def test_a_spelling_of_which_all_make_the_same_is_plain(model_type: str) -> None:
    assert is_plain(model_type)
    assert Model.of(model_type, 1).all == (Model(f"{model_type.lower()}/1"),)


@pytest.mark.parametrize(
    ("model_type", "types"),
    [
        ("İtem", {"i\u0307tem", "item"}),
        ("\u0131tem", {"\u0131tem", "item"}),
        ("i\u0307tem", {"i\u0307tem", "item"}),
        ("Straße", {"strasse", "straße"}),
        ("STRAẞE", {"strasse", "straße"}),
        ("ΟΔΟΣ", {"οδοσ", "οδος"}),
        ("οδος", {"οδοσ", "οδος"}),
        ("\u1e9e", {"ss", "ß"}),
        ("\u13a0", {"\u13a0", "\uab70"}),
    ],
)
def test_another_names_all_that_it_may_be_taken_for(model_type: str, types: set[str]) -> None:
    assert not is_plain(model_type)
    assert {model.type for model in Model.of(model_type, 1).all} == types


def test_whatever_any_locale_makes_of_a_letter_is_reached() -> None:
    """PostgreSQL's locales: C (only ASCII), the C library's and C.UTF-8 (by letter), ICU's (by text), and Turkish."""
    turkish = {"I": "\u0131", "İ": "i"}
    for letter in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(letter) == "Cs":
            continue
        reached = {model.type for model in Model.of(letter, 1).all}
        simple = "i" if letter == "İ" else letter.lower()
        lowered = {simple, letter.lower(), *(simple,) * (letter not in turkish), turkish.get(letter, simple)}
        for other in lowered:
            # A plain spelling of the same model is stored under its own folding, which must be among these.
            assert other in reached or not is_plain(other), (letter, other)
        assert letter in reached or not is_plain(letter) or letter.lower() in reached


def test_a_letter_that_is_too_new_to_be_known_is_not_plain() -> None:
    unassigned = next(letter for letter in map(chr, range(0xA7C0, 0x110000)) if unicodedata.category(letter) == "Cn")
    assert not is_plain(f"user{unassigned}")
