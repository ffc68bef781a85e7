"""`Secret`: the type of a setting whose value is never shown, neither in errors nor among the settings in effect."""

import re

from proxy.settings.setting_types import SettingType

_MASK = "***"


class Secret(SettingType):
    """A token or password of characters that may be sent in an HTTP header; "" means none."""

    name = "secret"
    secret = True
    accepted = "1 to 256 visible ASCII characters, no spaces; empty: none"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[!-~]{0,256}", text):
            raise ValueError(_MASK)
        return text

    def text(self, value: str) -> str:
        return _MASK if value else ""

    def shown(self, text: str) -> str:
        """Always `***`: even a mistyped text may contain the secret."""
        return _MASK
