"""The flags of the settings, and how variables are read: unset, empty, or not understood."""

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
"""Known before the others are read."""
NOWHERE = "dns:///media-service-addr-is-wrong.invalid:50056"
"""Calls fail there as they would at the address that is wrong; the default could be the app's own port."""
FALLBACKS: Mapping[str, Any] = {"media_service_addr": NOWHERE, "redis_addr": None, "rabbitmq_addr": ()}
"""What a setting is that could not be read and does not end the start, where that is not its default."""
_CLICKS = (
    (re.compile(r"^(.+) is not a valid integer\.?$"), r"\1 is not understood; accepted: a whole number"),
    (re.compile(r"^(.+) is not one of (.+?)\.?$"), r"\1 is not understood; accepted: \2"),
)


class SettingOption(click.Option):
    """A flag whose environment variable may be empty on purpose (`REDIS_ADDR=`: no Redis)."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable as it is; unset, or empty where the type takes no empty text, is the default."""
        value = os.environ.get(str(self.envvar))
        if ctx.params.get("unset_addrs") == "none":
            if self.name == "media_service_addr":  # its default is for one's own machine; in a pod it would be the app
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
        """The value; where a wrong one must not end the start, what stands in for it, and `faults` says so."""
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            if ctx.params.get("on_bad_settings") != "forward":
                raise
            ctx.meta.setdefault(_FAULTS, []).append(one_line(error))
            return FALLBACKS[self.name] if self.name in FALLBACKS else self.type.convert(self.default, self, ctx)


def faults(context: click.Context) -> list[str]:
    """One line for each setting whose value was not understood and did not end the command."""
    found: list[str] = context.meta.get(_FAULTS, [])
    return found


def options(*names: str) -> list[click.Parameter]:
    """One flag for each setting, or for each named one, with its environment variable."""
    return [option(setting) for setting in declared() if not names or setting.name in names]


def option(setting: Field[Any], prefix: str = "") -> SettingOption:
    """The flag of a setting, with its environment variable; `prefix` (`sidecar_`) begins the names of both."""
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
    """`CACHE_TTL: 'soon' is not understood; accepted: …`: the variable, what was given, what is accepted."""
    param = error.param
    if isinstance(param, SettingOption):
        return f"{param.envvar}: {error.message}"
    if isinstance(param, click.Option):
        name = max(param.opts, key=len)
    else:
        name = str(error.param_hint) if param is None else str(param.name).upper()
    return f"{name}: {_in_our_words(error.message)}" if name else error.message


def _in_our_words(message: str) -> str:
    """click's own messages as all others are."""
    for pattern, words in _CLICKS:
        message = pattern.sub(words, message)
    return " ".join(message.split()).removesuffix(".")
