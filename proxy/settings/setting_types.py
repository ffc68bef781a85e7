"""The types of setting values. Each turns text into a value, or says in one line what was given and what is accepted.

They are click parameter types, so that `serve --help`, its errors and the webhook's check of annotation values
come from one place. Each type also writes its values as text for a person (`text`). Neither shows credentials.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

import click

from proxy.settings.redact import without_credentials
from proxy.settings.redis_query import redis_query

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "d": 86400.0, "": 1.0}
_SIZES = {"MiB": 1 << 20, "KiB": 1 << 10, "": 1}
_LONGEST_SHOWN = 200
_HOST_PORT = re.compile(r"(\[[^\[\]]+\]|[0-9A-Za-z_.-]{1,253}):([0-9]{1,5})")


class SettingType(click.ParamType[Any]):
    """The base of all types. `accepted` completes the sentence "… is not understood; accepted: …"."""

    accepted: str
    secret = False
    """True: the value may hold credentials and must be shown only as `text` writes it."""

    def parse(self, text: str) -> Any:
        """The value; ValueError when the text is not understood."""
        raise NotImplementedError

    def text(self, value: Any) -> str:
        """The value as a person would write it. `parse` accepts it unless something had to be masked."""
        return str(value)

    def shown(self, text: str) -> str:
        """What an error shows of `text`, which was not understood: never a credential, whatever the setting."""
        return without_credentials(text) if self.secret or "@" in text or "://" in text else text

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Called by click; a value that is not text was converted before. click.BadParameter: it is not understood."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value.strip())
        except ValueError:
            shown = self.shown(value)
            shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
            self.fail(f"{shown!r} is not understood; accepted: {self.accepted}", param, ctx)


class Duration(SettingType):
    """A time in seconds, as a float from 0 to `maximum`."""

    name = "duration"

    def __init__(self, maximum: float = 7 * 86400.0) -> None:
        self.maximum = maximum
        longest = self.text(maximum)
        self.accepted = f"a number with ms, s, m, h or d (plain: seconds), at most {longest}, like 90, 90s, 15m, 1h"

    def parse(self, text: str) -> float:
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|)", text)
        if not match or float(match[1]) * _UNITS[match[2]] > self.maximum:
            raise ValueError(text)
        return float(match[1]) * _UNITS[match[2]]

    def text(self, value: float) -> str:
        for unit in ("h", "m", "s"):
            if value and value % _UNITS[unit] == 0:
                return f"{value / _UNITS[unit]:.0f}{unit}"
        return f"{value * 1000:.9f}".rstrip("0").rstrip(".") + "ms" if value else "0s"


class Count(SettingType):
    """An integer from `low` to `high`. With `sizes` it is a number of bytes, which may be written as 64KiB or 1MiB."""

    name = "number"

    def __init__(self, low: int, high: int, *, sizes: bool = False) -> None:
        self.low, self.high, self.sizes = low, high, sizes
        bounds = f"{self.text(low)} to {self.text(high)}"
        self.accepted = f"a whole number from {bounds}" + (", plain or with KiB or MiB" if sizes else "")

    def parse(self, text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,18})(KiB|MiB|)" if self.sizes else r"([0-9]{1,18})()", text)
        if not match or not self.low <= int(match[1]) * _SIZES[match[2]] <= self.high:
            raise ValueError(text)
        return int(match[1]) * _SIZES[match[2]]

    def text(self, value: int) -> str:
        unit = next(unit for unit, size in _SIZES.items() if value % size == 0) if self.sizes and value else ""
        return f"{value // _SIZES[unit]}{unit}"


class OneOf(SettingType):
    """One of `words`, given in any case. `also` maps further spellings to words."""

    name = "word"

    def __init__(self, *words: str, also: Mapping[str, str] | None = None) -> None:
        self.words, self._also = words, also or {}
        others = {meant: f" or {other}" for other, meant in self._also.items()}
        self.accepted = ", ".join(word + others.get(word, "") for word in words)

    def parse(self, text: str) -> str:
        word = self._also.get(text.lower(), text.lower())
        if word not in self.words:
            raise ValueError(text)
        return word


LOG_LEVEL = OneOf("debug", "info", "warning", "error", also={"warn": "warning"})
"""The services around the proxy read the same variable and write `warn`."""


class Name(SettingType):
    """A short name that is safe in Redis keys and queue names."""

    name = "name"
    accepted = "1 to 64 letters, digits, dots, dashes or underscores, not beginning with amq."

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty
        self.accepted = Name.accepted + ("; empty: the default" if empty else "")

    def parse(self, text: str) -> str:
        # RabbitMQ refuses to declare queues whose names begin with "amq." (AMQP 0-9-1, queue.declare).
        if not (self.empty and not text) and not re.fullmatch(r"(?!amq\.)[A-Za-z0-9._-]{1,64}", text):
            raise ValueError(text)
        return text


class MetadataKeys(SettingType):
    """A tuple of request metadata keys in lower case, without duplicates."""

    name = "keys"
    accepted = "metadata keys of letters, digits, dots, dashes or underscores, separated by commas; empty: none"

    def parse(self, text: str) -> tuple[str, ...]:
        keys = [key.strip().lower() for key in text.split(",")] if text else []
        if not all(re.fullmatch(r"(?!grpc-)[0-9a-z_.-]{1,128}", key) for key in keys):
            raise ValueError(text)
        return tuple(dict.fromkeys(keys))

    def text(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


class HostPort(SettingType):
    """An address to listen on, as text; port 0 lets the system choose a port."""

    name = "host:port"
    accepted = "host:port, like 127.0.0.1:50066, 0.0.0.0:9464 or [::1]:0"

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty
        self.accepted = HostPort.accepted + ("; empty: none" if empty else "")

    def parse(self, text: str) -> str:
        if text or not self.empty:
            split_host_port(text)
        return text


class GrpcTarget(SettingType):
    """A gRPC target in the spelling that gRPC's C core takes (https://github.com/grpc/grpc/blob/master/doc/naming.md)."""

    name = "target"
    accepted = "a gRPC target: host:port, dns:///host:port, ipv4:a.b.c.d:port, ipv6:[…]:port, unix:/path"

    def parse(self, text: str) -> str:
        match = re.fullmatch(r"(dns|passthrough|ipv4|ipv6|unix|unix-abstract|xds):(/*[^\s/@][^\s@]*)", text)
        if not match:
            _node(text)
            return text
        if match[1] not in {"dns", "passthrough"}:
            return text
        endpoint = match[2].rpartition("/")[2]
        _node(endpoint, default_port=443)
        # In grpc-go `passthrough` means "connect to this address as it is". The C core does not know the scheme and
        # would look the whole text up in DNS.
        return endpoint if match[1] == "passthrough" else text


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """Where Redis is and how to log in."""

    kind: str
    """`single`, `sentinel` or `cluster`."""
    url: str = field(repr=False)
    """For redis-py's `from_url`: scheme, credentials, the first node, the database and the TLS options."""
    nodes: tuple[tuple[str, int], ...]
    """Host and port of every node that was named: of Redis itself, or of the Sentinels."""
    master: str = ""
    """The name of the master that the Sentinels are asked for."""
    sentinel_password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The address as a person would write it, with credentials masked."""
        parts = urlsplit(self.url)
        scheme = parts.scheme if self.kind == "single" else f"{parts.scheme}+{self.kind}"
        nodes = ",".join(f"{bracketed(host)}:{port}" for host, port in self.nodes)
        masked = "***@" if "@" in parts.netloc else ""
        master = f"/{self.master}" if self.master else ""
        query = "?***" if parts.query or self.sentinel_password else ""
        return f"{scheme}://{masked}{nodes}{master}{parts.path}{query}"


class RedisAddr(SettingType):
    """A `RedisTarget`, or None for an empty text."""

    name = "address"
    secret = True
    accepted = (
        "host:port, redis://[user:password@]host:port[/db], redis+sentinel://[user:password@]h1:p,h2:p/master[/db]"
        "[?sentinel_password=…], redis+cluster://h1:p,h2:p, each with rediss for TLS (then also ?ssl_ca_certs=/path "
        "and the like), special characters of a password percent-encoded; empty: no Redis"
    )

    def parse(self, text: str) -> RedisTarget | None:
        if not text:
            return None
        if "://" not in text:
            return RedisTarget("single", f"redis://{text}", (_node(text),))
        parts = urlsplit(text)
        scheme = re.fullmatch(r"(rediss?)(?:\+(sentinel|cluster))?", parts.scheme)
        path = re.fullmatch(r"(?:/([A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*))?(?:/([0-9]{1,5})?)?", parts.path)
        if not scheme or not path or parts.fragment:
            raise ValueError(text)
        query, sentinel_password = redis_query(parts.query, *scheme.groups())
        kind, master, db = scheme[2] or "single", path[1] or "", path[2] or ""
        credentials, at, hosts = parts.netloc.rpartition("@")
        nodes = tuple(_node(node.strip(), default_port=6379) for node in hosts.split(","))
        if (kind == "sentinel") != bool(master) or (kind == "cluster" and db) or (kind == "single" and len(nodes) > 1):
            raise ValueError(text)
        host, port = nodes[0]
        url = f"{scheme[1]}://{credentials}{at}{bracketed(host)}:{port}{'/' if db else ''}{db}"
        return RedisTarget(kind, url + (f"?{query}" if query else ""), nodes, master, sentinel_password)

    def text(self, value: RedisTarget | None) -> str:
        return str(value or "")


class AmqpAddrs(SettingType):
    """A tuple of the AMQP URLs of a cluster's nodes, in the order in which they are tried; empty for an empty text."""

    name = "urls"
    secret = True
    accepted = (
        "amqp://user:password@host:port/vhost or amqps://…, several separated by commas, special characters of a "
        "password percent-encoded; empty: no events"
    )

    def parse(self, text: str) -> tuple[str, ...]:
        urls = tuple(url.strip() for url in text.split(",")) if text else ()
        for url in urls:
            parts = urlsplit(url)
            _node(parts.netloc.rpartition("@")[2], default_port=5672)
            if parts.scheme not in {"amqp", "amqps"} or parts.fragment or re.search(r"[\s\x00-\x1f]", url):
                raise ValueError(text)
        return urls

    def text(self, value: tuple[str, ...]) -> str:
        return ",".join(without_credentials(url) for url in value)


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """The host (IPv6 without brackets) and the port of `host:port` or `[v6]:port`; ValueError for anything else.

    Port 0 is accepted. With `default_port` the port may be left out.
    """
    if default_port is not None and not _HOST_PORT.fullmatch(text):
        text = f"{text}:{default_port}"
    match = _HOST_PORT.fullmatch(text)
    if not match or int(match[2]) > 65535:
        raise ValueError(text)
    if match[1].startswith("["):
        IPv6Address(match[1][1:-1])
    return match[1].strip("[]"), int(match[2])


def _node(text: str, default_port: int | None = None) -> tuple[str, int]:
    """The host and port to connect to, so port 0 is a ValueError."""
    host, port = split_host_port(text, default_port)
    if port == 0:
        raise ValueError(text)
    return host, port


def bracketed(host: str) -> str:
    """The host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
