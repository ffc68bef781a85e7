"""The gRPC channel arguments of both sides, with the reason for each.

Names and defaults: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h
"""

_MAX_METADATA = 1 << 20
"""Bytes of metadata in one answer of upstream. Upstream's own limits are lower; this one only bounds memory."""

PING_TIMEOUT_MS = 20_000

_BOTH = (
    ("grpc.max_send_message_length", -1),
    # The probe widens each connection's flow-control window to megabytes, which callers that do not read then occupy.
    ("grpc.http2.bdp_probe", 0),
    # The core keeps unreadable header fields in a connection's table, and fails later calls that refer to them, whoever
    # made these. Without a table, calls do not affect each other.
    ("grpc.http2.hpack_table_size.decoder", 0),
    # The time that a peer has to answer a ping. The core's option for keepalive (`grpc.keepalive_timeout_ms`) sets only
    # TCP_USER_TIMEOUT and no timer in grpcio 1.85, so a peer that hangs while its kernel acknowledges would have 60 s.
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (  # `Limits` has the others
    *_BOTH,
    # A connection that does not begin to speak HTTP/2 in this time is closed; the default is two minutes.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Calls that Python has not seen yet. Beyond the first number gRPC cancels some of them, beyond the second all. The
    # defaults, 1,000 and 3,000, are smaller than a burst of a few callers, which `Admission` should answer.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    # Otherwise two processes on one port would silently share its callers; the second one should fail.
    ("grpc.so_reuseport", 0),
    # A caller that vanished or hangs is noticed after 80 s. Clients accept any number of pings from a server.
    ("grpc.keepalive_time_ms", 60_000),
    # TCP_USER_TIMEOUT. It also counts the time in which a caller reads nothing, so a caller may pause for as long.
    ("grpc.keepalive_timeout_ms", 60_000 + PING_TIMEOUT_MS),
    # Callers may ping as often as they like, with or without calls: no GOAWAY "too_many_pings".
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)

CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH,
    # Answers of any size pass; the default is 4 MiB.
    ("grpc.max_receive_message_length", -1),
    # As on the server, soft and hard limit are the same (`Limits`).
    ("grpc.max_metadata_size", _MAX_METADATA),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA),
    # Reconnects within 1.5 s of upstream's return. The minimum is the time for one attempt to connect, not a pause.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A pod that comes back has a new address; by default a name is looked up again only after 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # By default, servers close connections that ping more often than every 5 minutes ("too_many_pings"). Keepalive also
    # sets TCP_USER_TIMEOUT, so that a call on a dead connection fails after 20 s.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    # Transparent retries only (gRFC A6): a call that upstream never processed is made once more. The caller's library
    # cannot do that, because to it the call has begun. All other retries, and load balancing, are up to the caller:
    # they need a service config, and none is read from DNS.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    # A sidecar's upstream is never behind the HTTP proxy that https_proxy names.
    ("grpc.enable_http_proxy", 0),
    # The channel has its own connection (and backoff), not shared with other channels of the process.
    ("grpc.use_local_subchannel_pool", 1),
)
