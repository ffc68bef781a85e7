"""`LazyGroup`: commands that are imported only when they are used, since `serve` must not load what others need."""

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group some of whose commands live in modules that are imported on first use.

    `lazy` maps a command's name to its module, which has the command under the same name.
    """

    def __init__(self, *args: Any, lazy: dict[str, str], **more: Any) -> None:
        super().__init__(*args, **more)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, lazy ones included."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, for which its module may have to be imported; None if there is no such command."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(self._lazy[cmd_name]), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._lazy[cmd_name]}.{cmd_name} is not a command")
        return command
