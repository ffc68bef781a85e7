"""Whether the sidecar would start: builds its complete `Settings` from the environment that it would get.

A variable whose value is not known (`valueFrom`, `$(NAME)`) is assumed to fit the others, if any value can.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from proxy.errors import SettingError
from proxy.injector.settings import SERVE_TYPES
from proxy.settings.config import Settings, declared, variable
from proxy.settings.setting_types import OneOf

_REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*\$\(")
_UNSEEN: dict[str, tuple[str, ...]] = {
    "target": ("media.example:50056",),
    "address": ("redis.example:6379", "rediss://redis.example:6379"),
    "urls": ("amqp://rabbitmq.example/", "amqps://rabbitmq.example/"),
    "duration": ("0s",),
    "path": ("", "/example.pem"),
}
"""Values to try for a variable that is not visible, by its type's name; one of them fits any visible values."""
_MOST_TRIED = 512


def trouble(environment: list[dict[str, Any]]) -> str | None:
    """The line with which `serve` would refuse this environment; None if it would start."""
    try:
        known, unseen = _read(environment)
    except click.BadParameter as error:
        return error.message
    said = None
    for values in itertools.islice(_guesses(unseen), _MOST_TRIED):
        try:
            Settings(**known, **values)
        except SettingError as error:
            said = said or str(error)
        else:
            return None
    return said


def _read(environment: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The values by the setting's name, and the variables whose values are not visible. A name's last entry counts."""
    last = {entry["name"]: entry for entry in environment if entry["name"] in SERVE_TYPES}
    known: dict[str, Any] = {}
    unseen = []
    for name, entry in last.items():
        text = str(entry.get("value") or "")
        if entry.get("valueFrom") or _REFERENCE.search(text):
            unseen.append(name)
            continue
        try:
            known[name.lower()] = SERVE_TYPES[name].convert(text.replace("$$", "$"), None, None)
        except click.BadParameter as error:
            if text.strip():
                raise click.BadParameter(f"{name}: {error.message}") from None
            # An empty variable counts as not set if its type does not accept an empty value.
    return known, unseen


def _guesses(unseen: list[str]) -> Iterator[Mapping[str, Any]]:
    defaults = {variable(each): each.metadata["default"] for each in declared()}
    choices = []
    for name in unseen:
        kind = SERVE_TYPES[name]
        texts = kind.words if isinstance(kind, OneOf) else _UNSEEN.get(kind.name, (defaults[name],))
        choices.append([(name.lower(), kind.parse(text)) for text in texts])
    return (dict(each) for each in itertools.product(*choices))
