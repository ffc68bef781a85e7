"""Addresses in Envoy's configuration. Pure: a function that is passed in resolves names.

Formats: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/address.proto; gRPC's targets:
https://github.com/grpc/grpc/blob/master/doc/naming.md
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from proxy.settings.grpc_target import listed, split_target
from proxy.settings.setting_types import split_host_port

Json = dict[str, Any]
Resolve = Callable[[str], Sequence[str]]
"""Returns the addresses of a host name; raises OSError if it has none."""

_DEFAULT_PORT = 443
"""The port of gRPC targets that name none."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service is: `addresses` in the order to try them, or with `dns` a single name to look up."""

    addresses: tuple[Json, ...]
    dns: bool = False
    resolver: Json | None = None
    """The DNS server to ask; None means the machine's own."""


def target(text: str) -> Target:
    """Parses a gRPC target. Raises ValueError for one that only gRPC's own library can reach."""
    scheme, rest = split_target(text)
    match scheme:
        case "unix":
            return Target((pipe(re.sub(r"^//", "", rest)),))
        case "unix-abstract":
            return Target((pipe(f"@{rest}"),))
        case "ipv4" | "ipv6":
            return Target(tuple(_socket(*split_host_port(each, _DEFAULT_PORT)) for each in listed(rest)))
        case "" | "dns":
            authority, _, endpoint = rest.removeprefix("//").rpartition("/")
            resolver = _socket(*split_host_port(authority, 53)) if authority else None
            host, port = split_host_port(endpoint, _DEFAULT_PORT)
            return Target((_socket(host, port),), dns=not is_ip(host), resolver=resolver)
        case _:
            raise ValueError(text)


def listening(text: str, resolve: Resolve) -> Json:
    """LISTEN_ADDR as fields of a Listener, with every address of its host. Raises ValueError if Envoy cannot use one,
    and OSError if the host is unknown.
    """
    host, port = split_host_port(text)
    try:
        first, *more = [_socket(each, port) for each in ([host] if is_ip(host) else resolve(host))]
    except ValueError:
        raise ValueError(
            f"LISTEN_ADDR: {text!r} cannot be used with TRANSPORT=envoy; accepted: "
            "host:port, and interfaces by their number, as in [fe80::1%2]:50066"
        ) from None
    if host == "::":
        first["socket_address"]["ipv4_compat"] = True
    return {"address": first, **({"additional_addresses": [{"address": each} for each in more]} if more else {})}


def pipe(path: str) -> Json:
    """The address of a Unix socket."""
    return {"pipe": {"path": path}}


def is_ip(host: str) -> bool:
    """Whether the host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _socket(host: str, port: int) -> Json:
    if is_ip(host) and isinstance(address := ip_address(host), IPv6Address):
        if address.scope_id and not address.scope_id.isdigit():
            raise ValueError(host)  # Envoy accepts interfaces only by number
        if address.ipv4_mapped:  # Envoy does not bind to such addresses
            host = str(address.ipv4_mapped)
    return {"socket_address": {"address": host, "port_value": port}}
