"""Settings of the examples: read from an environment, each understood or refused in one line that says why."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

_Value = TypeVar("_Value")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def setting(
    environ: Mapping[str, str], name: str, default: str, parse: Callable[[str], _Value], accepted: str
) -> _Value:
    """The variable's value, `default` when unset; ValueError names it, what was given and what is accepted."""
    text = environ.get(name, default).strip()
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{name}: {masked(text)!r} is not understood; accepted: {accepted}") from None


def host_port(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` to its parts, brackets removed."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@,]+):(\d{1,5})", text)
    if not match or int(match[2]) > 65535:
        raise ValueError(text)
    return match[1].strip("[]"), int(match[2])


def address(text: str) -> str:
    """An address to listen on, as given."""
    host_port(text)
    return text


def seconds(text: str) -> float:
    """A duration: `50ms`, `1.5s`, `5m`, `24h`; plain numbers are seconds."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|)", text)
    if not match:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def whole(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers between two bounds, both allowed."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,19}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def amqp_urls(text: str) -> tuple[str, ...]:
    """AMQP URLs, separated by commas; none when empty."""
    urls = tuple(url.strip() for url in text.split(",")) if text else ()
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname or parts.port == 0:
            raise ValueError(text)
    return urls


def masked(url: str) -> str:
    """A text that may be URLs, with what may be credentials hidden: it is for messages and logs."""
    return ",".join(re.sub(r"//[^/]*@", "//***@", part).partition("?")[0] for part in url.split(","))
