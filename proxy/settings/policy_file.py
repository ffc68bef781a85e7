"""`PolicyFile`: the type of POLICY. `proxy.policy` reads the file and checks whether it can be used."""

from proxy.settings.setting_types import SettingType


class PolicyFile(SettingType):
    """The path of a policy file, at most 4,096 printable characters."""

    name = "path"
    accepted = "the path of a policy file; empty: the built-in policy"

    def parse(self, text: str) -> str:
        if len(text) > 4096 or not (text.isprintable() or not text):
            raise ValueError(text)
        return text
