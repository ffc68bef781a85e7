"""Settings of the examples, read from an environment; a value that is not understood is refused with one line."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

_Value = TypeVar("_Value")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def setting(
    environ: Mapping[str, str], name: str, default: str, parse: Callable[[str], _Value], accepted: str
) -> _Value:
    """Returns the variable's value, or `default` if unset; ValueError says what was given and what is accepted."""
    text = environ.get(name, default).strip()
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{name}: {masked(text)!r} is not understood; accepted: {accepted}") from None


def host_port(text: str) -> tuple[str, int]:
    """Splits `host:port` or `[v6]:port`; the brackets are removed."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@,]+):(\d{1,5})", text)
    if not match or int(match[2]) > 65535:
        raise ValueError(text)
    return match[1].strip("[]"), int(match[2])


def address(text: str) -> str:
    """Checks an address to listen on, and returns it unchanged."""
    host_port(text)
    return text


def seconds(text: str) -> float:
    """Parses a duration: `50ms`, `1.5s`, `5m`, `24h`; plain numbers are seconds."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|)", text)
    if not match:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def whole(low: int, high: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers between two bounds, inclusive."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,19}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def amqp_urls(text: str) -> tuple[str, ...]:
    """Parses AMQP URLs, separated by commas; empty means none."""
    urls = tuple(url.strip() for url in text.split(",")) if text else ()
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname or parts.port == 0:
            raise ValueError(text)
    return urls


def masked(url: str) -> str:
    """Returns a text that may contain URLs with possible credentials hidden, for messages and logs."""
    return ",".join(re.sub(r"//[^/]*@", "//***@", part).partition("?")[0] for part in url.split(","))
