"""`authority`: the `:authority` of calls upstream, which names upstream, whatever name callers use for the proxy. Pure.

An upstream that routes by host (a mesh, an ingress, a cloud's load balancer) has no route for the proxy's name.
"""

from proxy.settings.grpc_target import listed, split_target

_LOCAL = "localhost"
"""The authority for a Unix socket, whose path is not a legal one (RFC 3986, 3.2): servers reset calls that carry it."""


def authority(target: str, server_name: str = "") -> str:
    """The authority that gRPC's library uses for a target; if that would be illegal, `localhost` or the first address.

    `server_name`: the name in upstream's certificate, if it differs from the target's name. It takes precedence.
    """
    if server_name:
        return server_name
    scheme, rest = split_target(target)
    match scheme:
        case "unix" | "unix-abstract":
            return _LOCAL
        case "ipv4" | "ipv6":
            return listed(rest)[0]
        case _:
            return rest.rpartition("/")[2]
