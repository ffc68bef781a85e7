"""`SettingOption`: the flag and the environment variable of a setting, which may be unset, empty or not understood."""

import os
import re
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

import click

from proxy.settings.config import declared

_UNSET = frozenset({"redis_addr", "rabbitmq_addr"})
_FAULTS = "media-cache-proxy.faults"
_EAGER = frozenset({"on_bad_settings", "unset_addrs"})
"""These settings are read first, since they decide how the others are read."""
NOWHERE = "dns:///media-service-addr-is-wrong.invalid:50056"
"""Stands in for a wrong MEDIA_SERVICE_ADDR: calls fail, whereas the default could lead to the app's own port."""
FALLBACKS: Mapping[str, Any] = {"media_service_addr": NOWHERE, "redis_addr": None, "rabbitmq_addr": ()}
"""The values used with ON_BAD_SETTINGS=forward for settings that were not understood; others get their default."""
_CLICKS = (
    (re.compile(r"^(.+) is not a valid integer\.?$"), r"\1 is not understood; accepted: a whole number"),
    (re.compile(r"^(.+) is not one of (.+?)\.?$"), r"\1 is not understood; accepted: \2"),
)


class SettingOption(click.Option):
    """A flag whose environment variable may be empty on purpose (`REDIS_ADDR=` means no Redis)."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The text of the variable; None, which means the default, when it is unset, or empty and its type accepts no
        empty text.
        """
        value = os.environ.get(str(self.envvar))
        if ctx.params.get("unset_addrs") == "none":
            if self.name == "media_service_addr":  # its default is for a developer's machine; in a pod the app has it
                return (value or "").strip()
            if value is None and self.name in _UNSET:
                return ""
        if value is None or value.strip():
            return value
        try:
            self.type.convert("", None, None)
        except click.BadParameter:
            return None
        return ""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value. With ON_BAD_SETTINGS=forward a wrong value is replaced and listed in `faults`; else it raises
        click.BadParameter.
        """
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            if ctx.params.get("on_bad_settings") != "forward":
                raise
            ctx.meta.setdefault(_FAULTS, []).append(one_line(error))
            return FALLBACKS[self.name] if self.name in FALLBACKS else self.type.convert(self.default, self, ctx)


def faults(context: click.Context) -> list[str]:
    """One line for each setting that was not understood and was replaced."""
    found: list[str] = context.meta.get(_FAULTS, [])
    return found


def options(*names: str) -> list[click.Parameter]:
    """The flags of all settings, or of those in `names` (field names of `Settings`)."""
    return [option(setting) for setting in declared() if not names or setting.name in names]


def option(setting: Field[Any], prefix: str = "") -> SettingOption:
    """The flag of one setting. `prefix` (`sidecar_`) is put before the names of flag and variable."""
    name = prefix + setting.name
    return SettingOption(
        [f"--{name.replace('_', '-')}"],
        envvar=name.upper(),
        type=setting.metadata["type"],
        default=setting.metadata["default"],
        help=setting.metadata["help"],
        metavar=setting.metadata["type"].name.upper(),
        show_default=bool(setting.metadata["default"]),
        show_envvar=True,
        is_eager=setting.name in _EAGER,
    )


def one_line(error: click.BadParameter) -> str:
    """The error in one line that names the variable: `CACHE_TTL: 'soon' is not understood; accepted: …`."""
    param = error.param
    if isinstance(param, SettingOption):
        return f"{param.envvar}: {error.message}"
    if isinstance(param, click.Option):
        name = max(param.opts, key=len)
    else:
        name = str(error.param_hint) if param is None else str(param.name).upper()
    return f"{name}: {_in_our_words(error.message)}" if name else error.message


def _in_our_words(message: str) -> str:
    """A message of click's own, worded like those of `SettingType.convert`."""
    for pattern, words in _CLICKS:
        message = pattern.sub(words, message)
    return " ".join(message.split()).removesuffix(".")
