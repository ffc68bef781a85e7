"""Whether a gRPC target leads back to the proxy itself: a call sent there would loop until its deadline."""

from ipaddress import IPv6Address, ip_address

from proxy.settings.grpc_target import listed, split_target
from proxy.settings.setting_types import split_host_port

_LOCAL = frozenset({"localhost", "ip6-localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 -- compared, not bound


def endpoints(target: str) -> list[tuple[str, int]]:
    """The hosts and ports that a gRPC target names, without Unix sockets and names without a port.

    Hosts are in lower case, and IP addresses in their shortest spelling.
    """
    scheme, rest = split_target(target)
    if scheme in {"unix", "unix-abstract", "xds"}:
        return []
    found = []
    for each in listed(rest) if scheme in {"ipv4", "ipv6"} else [rest.rpartition("/")[2]]:
        try:
            host, port = split_host_port(each)
        except ValueError:
            continue
        found.append((_spelled(host), port))
    return found


def leads_back(target: str, listen: str) -> bool:
    """Whether calls sent to the gRPC target `target` certainly reach the listener at `listen` (host:port)."""
    own_host, own_port = split_host_port(listen)
    own_host = _spelled(own_host)
    return any(port == own_port and _reaches(host, own_host) for host, port in endpoints(target))


def is_loopback(host: str) -> bool:
    """Whether connections to `host`, spelled as in `endpoints`, stay on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host in _LOCAL
    return address.is_loopback or address.is_unspecified


def _reaches(host: str, own_host: str) -> bool:
    if host == own_host:
        return True
    if own_host in {"0.0.0.0", "::"}:  # noqa: S104 -- compared, not bound
        return is_loopback(host)
    return host in _LOCAL and own_host in _LOCAL


def _spelled(host: str) -> str:
    host = host.lower().rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)
