"""The types of the TLS settings, and which settings contradict each other: a certificate without its key, or files for
a connection without TLS.

Nothing here reads a file: `proxy.tls` checks whether the files can be used.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from proxy.settings.setting_types import SettingType

_PARTS = ("CA", "CERT", "KEY", "SERVER_NAME")
_AMQP_TLS = frozenset({"cafile", "capath", "cadata", "certfile", "keyfile", "no_verify_ssl"})
"""The TLS options that aiormq reads from the query of a URL."""


class PemFile(SettingType):
    """The path of a PEM file with certificates or a private key, at most 4,096 printable characters."""

    name = "path"
    accepted = "the path of a PEM file; empty: none"

    def parse(self, text: str) -> str:
        if len(text) > 4096 or not text.isprintable() or "-----" in text:
            raise ValueError(text)
        return text

    def shown(self, text: str) -> str:
        """Masks a key that was given in place of its path, and the credentials in an address."""
        return "***" if "-----" in text or "\n" in text else super().shown(text)


class ServerName(SettingType):
    """The host name or IP address that a server's certificate must be issued for."""

    name = "name"
    accepted = "a host name or an IP address; empty: the one in the address"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[0-9A-Za-z_.:-]{0,253}", text):
            raise ValueError(text)
        return text


def contradiction(given: Mapping[str, str], redis: str, rabbitmq: Sequence[str]) -> str:
    """One line about the first contradiction (the variable, its value, what is accepted); "" if there is none.

    `given` has the value of every variable with _TLS in its name; `redis` and `rabbitmq` are the addresses as URLs.
    """
    return next(_contradictions(given, redis, rabbitmq), "")


def _contradictions(given: Mapping[str, str], redis: str, rabbitmq: Sequence[str]) -> Iterator[str]:
    for leg in ("LISTEN_TLS", "UPSTREAM_TLS", "REDIS_TLS", "RABBITMQ_TLS"):
        for have, want in ((f"{leg}_CERT", f"{leg}_KEY"), (f"{leg}_KEY", f"{leg}_CERT")):
            if given[have] and not given[want]:
                yield f"{want}: {given[want]!r} does not go with {have}={given[have]}; accepted: both, or neither"
    if given["LISTEN_TLS_CLIENT_CA"] and not given["LISTEN_TLS_CERT"]:
        yield (
            f"LISTEN_TLS_CLIENT_CA: {given['LISTEN_TLS_CLIENT_CA']!r} has no effect in plaintext; accepted: together "
            "with LISTEN_TLS_CERT and LISTEN_TLS_KEY, or empty"
        )
    if given["UPSTREAM_TLS"] != "on":
        yield from _in_vain(given, "UPSTREAM_TLS", "while UPSTREAM_TLS is off", "with UPSTREAM_TLS=on")
    if not redis.startswith("rediss:"):
        yield from _in_vain(given, "REDIS_TLS", "on a REDIS_ADDR without TLS", "with a rediss address")
    if not any(url.startswith("amqps:") for url in rabbitmq):
        yield from _in_vain(given, "RABBITMQ_TLS", "on a RABBITMQ_ADDR without TLS", "with an amqps address")
    if urlsplit(redis).query:
        yield from _in_vain(given, "REDIS_TLS", "beside TLS options in REDIS_ADDR", "one of the two ways")
    if any(_AMQP_TLS & parse_qs(urlsplit(url).query).keys() for url in rabbitmq):
        yield from _in_vain(given, "RABBITMQ_TLS", "beside TLS options in RABBITMQ_ADDR", "one of the two ways")


def _in_vain(given: Mapping[str, str], leg: str, why: str, accepted: str) -> Iterator[str]:
    for name in (f"{leg}_{part}" for part in _PARTS):
        if given[name]:
            yield f"{name}: {given[name]!r} has no effect {why}; accepted: {accepted}, or empty"
