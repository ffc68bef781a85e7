"""A gRPC target in its parts: https://github.com/grpc/grpc/blob/master/doc/naming.md. Pure."""

import re
from urllib.parse import unquote

_SCHEME = re.compile(r"(dns|passthrough|ipv4|ipv6|unix|unix-abstract|xds):")


def split_target(target: str) -> tuple[str, str]:
    """The scheme, empty if there is none, and the rest; with a scheme it is a URI, so the rest is decoded."""
    match = _SCHEME.match(target)
    return (match[1], unquote(target[match.end() :])) if match else ("", target)


def listed(rest: str) -> list[str]:
    """The addresses behind `ipv4:` or `ipv6:`."""
    return rest.lstrip("/").split(",")
