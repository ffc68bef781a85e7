"""The settings as a command line's flags: each with its environment variable, its type's checks, and its help."""

import os
from dataclasses import Field
from typing import Any

import click

from proxy.settings import config


class SettingOption(click.Option):
    """A flag whose environment variable may be empty on purpose (`REDIS_ADDR=`: no Redis)."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable as it is; unset, or empty where the type takes no empty text, is the default."""
        value = os.environ.get(str(self.envvar))
        if value is None or value.strip():
            return value
        try:
            self.type.convert("", None, None)
        except click.BadParameter:
            return None
        return ""


def options(*names: str) -> list[click.Parameter]:
    """One flag for each setting, or for each named one, with its environment variable."""
    return [option(setting) for setting in config.declared() if not names or setting.name in names]


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
    )


def one_line(error: click.BadParameter) -> str:
    """`CACHE_TTL: 'soon' is not understood; accepted: …`: the variable, what was given, what is accepted."""
    name = str(error.param.envvar) if isinstance(error.param, SettingOption) else ""
    return f"{name}: {error.message}" if name else error.format_message()
