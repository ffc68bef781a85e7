"""The gRPC channel arguments of both sides, each with its reason.

Names and defaults: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h
"""

_MAX_METADATA = 1 << 20
"""Bytes of metadata in one answer of upstream's. Its own limits come first; ours only bounds memory."""

PING_TIMEOUT_MS = 20_000

_BOTH = (
    ("grpc.max_send_message_length", -1),
    # The probe widens the flow-control window of every connection to megabytes, which stalled readers then hold.
    ("grpc.http2.bdp_probe", 0),
    # The core keeps what it could not read in the table of a connection's header fields, and fails later calls that
    # name it there, whoever's they are. Without a table each call stands for itself.
    ("grpc.http2.hpack_table_size.decoder", 0),
    # The time that a peer has to answer a ping. The core's own option for keepalive (`grpc.keepalive_timeout_ms`) sets
    # no timer in grpcio 1.85, only TCP_USER_TIMEOUT: a peer that hangs while its kernel acknowledges had one minute.
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
)

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (  # `Limits` has the others
    *_BOTH,
    # A connection that has not said in time that it speaks HTTP/2 is closed; the default is two minutes.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Calls that Python has not seen yet. Beyond the first number gRPC cancels some, whoever's they are, beyond the
    # second all. By default 1,000 and 3,000: less than a burst of some callers, whom `Admission` is to answer.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    # Two processes on one port would share its callers silently; the second is to fail.
    ("grpc.so_reuseport", 0),
    # A caller that vanished or hangs is noticed after 80 s. Clients never mind pings from a server.
    ("grpc.keepalive_time_ms", 60_000),
    # TCP_USER_TIMEOUT. It counts the time in which a caller reads nothing, too: one that pauses has as long as that.
    ("grpc.keepalive_timeout_ms", 60_000 + PING_TIMEOUT_MS),
    # Callers may ping as often as they like, with or without calls: no GOAWAY "too_many_pings".
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)

CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *_BOTH,
    # Any answer passes; the default on receipt is 4 MiB.
    ("grpc.max_receive_message_length", -1),
    # As for the server: no gap (`Limits`).
    ("grpc.max_metadata_size", _MAX_METADATA),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA),
    # Back within 1.5 s of upstream's return. The minimum is the time one attempt to connect gets, not a pause.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A pod that comes back has a new address; by default a name is looked up again only after 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Servers with defaults end connections that ping more often than every 5 minutes ("too_many_pings"). Keepalive also
    # sets TCP_USER_TIMEOUT, so that a call on a dead connection fails after 20 s.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    # Transparent retries alone (gRFC A6): a call that upstream never processed is made once more. To the caller's
    # library it has begun, so that it cannot. Any other retry, and load balancing, is the caller's to decide: they take
    # a service config, and we take none out of DNS.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    # A sidecar's upstream is never behind the HTTP proxy that https_proxy names.
    ("grpc.enable_http_proxy", 0),
    # A connection (and its backoff) of our own, not shared with other channels of the process.
    ("grpc.use_local_subchannel_pool", 1),
)
