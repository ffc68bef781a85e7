"""A secret is taken as it is, and shown nowhere."""

import click
import pytest

from proxy.settings.config import Settings
from proxy.settings.secret_type import Secret


@pytest.mark.parametrize("text", ["", "x", "!~", "a" * 256])
def test_visible_characters_are_taken_as_they_are(text: str) -> None:
    assert Secret().parse(text) == text


@pytest.mark.parametrize("text", ["two words", "a" * 257, "ümlaut", "tab\tinside", "line\nbreak"])
def test_what_no_header_can_carry_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        Secret().convert(text, None, None)
    assert refusal.value.message == f"'***' is not understood; accepted: {Secret.accepted}"


def test_the_settings_in_effect_do_not_show_it() -> None:
    settings = Settings(admin_token="hidden")
    assert settings.shown()["admin_token"] == "***"
    assert Settings().shown()["admin_token"] == ""
    assert "hidden" not in repr(settings)
