"""Two spellings of a model are one model; its id is exact."""

import pytest

from proxy.media.model import Model


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
