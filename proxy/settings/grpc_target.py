"""Splits a gRPC target (https://github.com/grpc/grpc/blob/master/doc/naming.md) into its parts."""

import re
from urllib.parse import unquote

_SCHEME = re.compile(r"(dns|passthrough|ipv4|ipv6|unix|unix-abstract|xds):")


def split_target(target: str) -> tuple[str, str]:
    """The scheme, or "", and the rest. A target with a scheme is a URI, so its rest is percent-decoded."""
    match = _SCHEME.match(target)
    return (match[1], unquote(target[match.end() :])) if match else ("", target)


def listed(rest: str) -> list[str]:
    """The addresses after `ipv4:` or `ipv6:`."""
    return rest.lstrip("/").split(",")
