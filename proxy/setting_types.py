"""The types of setting values: each turns text into a value or says in one line what was given and what is accepted.

They are click parameter types, so that `serve`'s help, its errors and the webhook's check of annotation values
come from one place.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import click

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@,]+):(\d{1,5})\Z")


class SettingType(click.ParamType[Any]):
    """Text to value. `accepted` completes the sentence "… is not understood; accepted: …"."""

    accepted: str

    def parse(self, text: str) -> Any:
        """The value; ValueError when the text is not understood."""
        raise NotImplementedError

    def shown(self, text: str) -> str:
        """What an error may show of the text: never a credential."""
        return text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """click's entry point; a value that is no text has been converted already."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value.strip())
        except ValueError:
            self.fail(f"{self.shown(value)!r} is not understood; accepted: {self.accepted}", param, ctx)


class Duration(SettingType):
    """Seconds as a float."""

    name = "duration"

    def __init__(self, maximum: float = 7 * 86400.0) -> None:
        self.maximum = maximum
        self.accepted = (
            f"a number with ms, s, m or h (plain: seconds), at most {maximum / 3600:g}h, like 90, 90s, 15m, 1h"
        )

    def parse(self, text: str) -> float:
        match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|h|d|)", text)
        if not match:
            raise ValueError(text)
        seconds = float(match[1]) * _UNITS[match[2]]
        if seconds > self.maximum:
            raise ValueError(text)
        return seconds


class Count(SettingType):
    """An integer between two bounds; with `sizes`, also 64KiB, 1MiB."""

    name = "number"

    def __init__(self, low: int, high: int, *, sizes: bool = False) -> None:
        self.low, self.high, self.sizes = low, high, sizes
        self.accepted = f"a whole number from {low} to {high}" + (", or with KiB or MiB" if sizes else "")

    def parse(self, text: str) -> int:
        match = re.fullmatch(r"(\d{1,18})(KiB|MiB|GiB|)" if self.sizes else r"(\d{1,18})()", text)
        if not match:
            raise ValueError(text)
        number = int(match[1]) * {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[match[2]]
        if not self.low <= number <= self.high:
            raise ValueError(text)
        return number


class OneOf(SettingType):
    """One of some words, in any case."""

    name = "word"

    def __init__(self, *words: str) -> None:
        self.words = words
        self.accepted = ", ".join(words)

    def parse(self, text: str) -> str:
        if text.lower() not in self.words:
            raise ValueError(text)
        return text.lower()


class Name(SettingType):
    """A short name that is safe inside keys and queue names."""

    name = "name"
    accepted = "1 to 64 letters, digits, dots, dashes or underscores"

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty

    def parse(self, text: str) -> str:
        if not (self.empty and text == "") and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
            raise ValueError(text)
        return text


class MetadataKeys(SettingType):
    """Lower-case request metadata keys, without duplicates."""

    name = "keys"
    accepted = "metadata keys of letters, digits, dots, dashes or underscores, separated by commas; empty: none"

    def parse(self, text: str) -> tuple[str, ...]:
        keys = [key.strip().lower() for key in text.split(",")] if text else []
        if not all(re.fullmatch(r"[0-9a-z_.-]{1,128}", key) and not key.startswith("grpc-") for key in keys):
            raise ValueError(text)
        return tuple(dict.fromkeys(keys))


class HostPort(SettingType):
    """An address to listen on, as given."""

    name = "host:port"
    accepted = "host:port, like 127.0.0.1:50066, 0.0.0.0:9464 or [::1]:0"

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty

    def parse(self, text: str) -> str:
        if self.empty and not text:
            return text
        split_host_port(text)
        return text


class GrpcTarget(SettingType):
    """A gRPC target (https://github.com/grpc/grpc/blob/master/doc/naming.md), as given."""

    name = "target"
    accepted = "a gRPC target: host:port, dns:///host:port, ipv4:…, ipv6:…, unix:/path"

    def parse(self, text: str) -> str:
        scheme = re.match(r"(dns|passthrough|ipv4|ipv6|unix|unix-abstract|xds):", text)
        rest = text[scheme.end() :].strip("/") if scheme else ""
        if scheme and rest and not re.search(r"\s", text):
            return text
        split_host_port(text)
        return text


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """Where Redis is. `url` is what redis-py's `from_url` takes; Sentinel and Cluster name several `nodes`."""

    kind: str
    """`single`, `sentinel` or `cluster`."""
    url: str = field(repr=False)
    nodes: tuple[tuple[str, int], ...]
    master: str = ""


class RedisAddr(SettingType):
    """A `RedisTarget`, or None when empty."""

    name = "address"
    accepted = (
        "host:port, redis://[user:password@]host:port[/db], redis+sentinel://[user:password@]h1:p,h2:p/master/db, "
        "redis+cluster://h1:p,h2:p, each with rediss for TLS; empty: no Redis"
    )

    def shown(self, text: str) -> str:
        return without_credentials(text)

    def parse(self, text: str) -> RedisTarget | None:
        if not text:
            return None
        if "://" not in text:
            return RedisTarget("single", f"redis://{text}", (split_host_port(text),))
        parts = urlsplit(text)
        kind = {"redis": "single", "rediss": "single"}.get(parts.scheme)
        if kind is None:
            kind = {"sentinel": "sentinel", "cluster": "cluster"}[self._flavour(parts.scheme)]
        credentials, _, hosts = parts.netloc.rpartition("@")
        nodes = tuple(split_host_port(node, default_port=6379) for node in hosts.split(","))
        path = [unquote(part) for part in parts.path.split("/") if part]
        parse_qs(parts.query, strict_parsing=bool(parts.query))
        master = path.pop(0) if kind == "sentinel" and path else ""
        if (kind == "sentinel") != bool(master) or len(path) > 1 or (kind == "single" and len(nodes) > 1):
            raise ValueError(text)
        if path and (kind == "cluster" or not path[0].isdecimal()):
            raise ValueError(text)
        host, port = nodes[0]
        scheme = parts.scheme.partition("+")[0]
        url = f"{scheme}://{credentials}{'@' if credentials else ''}{bracketed(host)}:{port}"
        url += (f"/{path[0]}" if path else "") + (f"?{parts.query}" if parts.query else "")
        return RedisTarget(kind, url, nodes, master)

    @staticmethod
    def _flavour(scheme: str) -> str:
        base, _, flavour = scheme.partition("+")
        if base not in {"redis", "rediss"} or flavour not in {"sentinel", "cluster"}:
            raise ValueError(scheme)
        return flavour


class AmqpAddrs(SettingType):
    """The AMQP URLs of a cluster's nodes, in the order to try; none when empty."""

    name = "urls"
    accepted = "amqp://user:password@host:port/vhost or amqps://…, several separated by commas; empty: no events"

    def shown(self, text: str) -> str:
        return ",".join(without_credentials(url) for url in text.split(","))

    def parse(self, text: str) -> tuple[str, ...]:
        urls = tuple(url.strip() for url in text.split(",")) if text else ()
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in {"amqp", "amqps"} or not parts.hostname or not 0 < (parts.port or 5672) < 65536:
                raise ValueError(text)
        return urls


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """`host:port` or `[v6]:port` to its parts, brackets removed; ValueError otherwise."""
    match = _HOST_PORT.match(text if default_port is None or _HOST_PORT.match(text) else f"{text}:{default_port}")
    if not match or int(match[2]) > 65535:
        raise ValueError(text)
    return match[1].strip("[]"), int(match[2])


def bracketed(host: str) -> str:
    """A host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def without_credentials(url: str) -> str:
    """A URL with its user information and query masked, for messages and logs."""
    url = re.sub(r"//[^/]*@", "//***@", url) if "://" in url else re.sub(r"^.*@", "***@", url)
    return re.sub(r"\?.*", "?***", url)
