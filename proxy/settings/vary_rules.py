"""`withheld`: the names that CACHE_VARY_METADATA may not contain, because a transport does not pass them to the cache.

Callers that differ only in such metadata would get each other's answers. `tests/settings/test_vary_rules.py` tries
every name that is known to be special, with each transport.
"""

_OF_GRPC = "gRPC's library removes it"
_OF_ENVOY = "Envoy takes it as an instruction"
_OF_THE_CONNECTION = "it describes a connection or a message, not a caller"

_ALWAYS = {
    **dict.fromkeys(("te", "content-type"), _OF_THE_CONNECTION),
    **dict.fromkeys(("lb-cost-bin", "grpclb_client_stats"), _OF_GRPC),
}
_GRPCIO = dict.fromkeys(("endpoint-load-metrics-bin", "x-envoy-peer-metadata"), _OF_GRPC)
_ENVOY = {
    "host": "with HTTP/2 it is the authority",
    "x-media-cache-forwarded-proto": "the proxy uses it inside Envoy",
    **dict.fromkeys(
        ("content-length", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"),
        _OF_THE_CONNECTION,
    ),
}


def withheld(names: tuple[str, ...], transport: str, said_by: str = "CACHE_VARY_METADATA") -> str:
    """One line about the first of `names` that `transport` withholds; "" if it passes them all. `said_by` is the
    setting, or the place in a policy, that the line begins with.
    """
    of_transport = _ENVOY if transport == "envoy" else _GRPCIO
    for name in names:
        reason = _ALWAYS.get(name) or of_transport.get(name)
        if transport == "envoy" and name.startswith("x-envoy-"):
            reason = _OF_ENVOY
        if reason:
            return (
                f"{said_by}: {name!r} never reaches the cache with TRANSPORT={transport}: {reason}; "
                "accepted: metadata that tells callers apart"
            )
    return ""
