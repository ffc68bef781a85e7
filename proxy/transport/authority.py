"""The `:authority` of calls upstream: the media service's, whatever name a caller knows the proxy by. Pure.

An upstream that routes by host (a mesh, an ingress, a cloud's load balancer) has no route for the proxy's name.
"""

from proxy.settings.grpc_target import listed, split_target

_LOCAL = "localhost"
"""Of a Unix socket, whose path is no legal authority (RFC 3986, 3.2): servers reset a call that names it."""


def authority(target: str, server_name: str = "") -> str:
    """Of a gRPC target, as gRPC's library has it; where its own would be illegal, `localhost` or the first address.

    `server_name` is the name that upstream's certificate must have, if another one than the target's.
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
