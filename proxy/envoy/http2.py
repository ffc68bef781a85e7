"""HTTP/2 options for both sides of Envoy, with windows so large that no call waits for another's reader. Pure."""

from typing import Any

from proxy.envoy.addresses import Json

_STREAM_WINDOW = 64 << 10
_LARGEST_WINDOW = (1 << 31) - 1
_OWN_CALLS = 1_000
"""Maximum calls at once on the connection to the proxy's own server for health and reflection."""
_HARMLESS = 10_000
"""Maximum frames of one kind that carry no data."""
_IDLE = "15s"
"""How long a connection upstream without calls is kept, since its caller's connection may be gone."""
_LONGEST_VALUE = 64 << 10
"""The longest header value in bytes that nghttp2, Envoy's default codec, accepts."""
_FROM_UPSTREAM_KB = 1024
"""Maximum response metadata in KiB. Upstream's own limit is lower; this one only bounds memory."""
_MOST_ENTRIES_FROM_UPSTREAM = 10_000


def extension(name: str, kind: str, **config: Any) -> Json:
    """The configuration of an Envoy extension; `kind` is its message type below `envoy.extensions`."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


def as_client(calls: int = _OWN_CALLS, idle: str = _IDLE, metadata: int = 0) -> Json:
    """A cluster's HTTP/2 options: at most `calls` at once on a connection, each with at most `metadata` bytes of
    metadata. A connection without calls is closed after `idle`.
    """
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options: Json = {
        "@type": f"type.googleapis.com/{kind}",
        "explicit_http_config": {"http2_protocol_options": http2(calls, metadata)},
        "common_http_protocol_options": {
            "idle_timeout": idle,
            "max_headers_count": _MOST_ENTRIES_FROM_UPSTREAM,
            "max_response_headers_kb": _FROM_UPSTREAM_KB,
        },
    }
    return {"typed_extension_protocol_options": {kind: options}}


def http2(calls: int, metadata: int = 0) -> Json:
    """The options of either side, for a connection that carries at most `calls` at once, each with at most `metadata`
    bytes of metadata.

    A call whose data is not read occupies at most its own window. The connection's window is twice the sum of all these
    windows, so the data of other calls still passes. It is twice the sum because Envoy announces free space to its peer
    only once half of the window is free.
    """
    return {
        "max_concurrent_streams": calls,
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": min(2 * _STREAM_WINDOW * (calls + 1), _LARGEST_WINDOW),
        # By default Envoy closes a connection, with all of its calls, for frames that some libraries send and that gRPC
        # servers accept: a second empty DATA frame, small window updates, priorities, pings. Each costs about as much
        # as any other frame, so they are useless for an attack, and the data waiting to be sent stays bounded.
        "max_consecutive_inbound_frames_with_empty_payload": _HARMLESS,
        "max_inbound_window_update_frames_per_data_frame_sent": _HARMLESS,
        "max_inbound_priority_frames_per_stream": _HARMLESS,
        "max_outbound_control_frames": _HARMLESS,
        # A malformed call does not end the other calls of its connection.
        "override_stream_error_on_invalid_http_message": True,
        # A longer value makes nghttp2 close the connection with all of its calls. oghttp2 does not, but makes a
        # forwarded call a tenth more expensive.
        **({"use_oghttp2_codec": True} if metadata > _LONGEST_VALUE else {}),
    }
