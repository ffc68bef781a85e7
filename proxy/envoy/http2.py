"""HTTP/2 options on both sides of Envoy, with windows so large that no call waits for another's reader. Pure."""

from typing import Any

from proxy.envoy.addresses import Json

_STREAM_WINDOW = 64 << 10
_LARGEST_WINDOW = (1 << 31) - 1
_OWN_CALLS = 1_000
"""At once on the connection to our own small server."""
_HARMLESS = 10_000
"""Frames of one kind that bring nothing forward."""
_IDLE = "15s"
"""How long a connection upstream without calls is kept: its caller's connection may be gone."""
_LONGEST_VALUE = 64 << 10
"""That nghttp2, Envoy's default codec, reads."""
_FROM_UPSTREAM_KB = 1024
"""Of response metadata: upstream's own limit comes first, this only bounds memory."""
_MOST_ENTRIES_FROM_UPSTREAM = 10_000


def extension(name: str, kind: str, **config: Any) -> Json:
    """One of Envoy's extensions: `kind` is its message below envoy.extensions."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


def as_client(calls: int = _OWN_CALLS, idle: str = _IDLE, metadata: int = 0) -> Json:
    """What a cluster has for our side as a client: at most so many calls at once on a connection, each with at most
    so many bytes of metadata.
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
    """The options of either side, for a connection that carries at most so many calls at once, each with at most so
    many bytes of metadata.

    Each may hold back as much as its own window, and the connection's is twice as large as all of these: whatever some
    do not read, the others' bytes pass. Twice, since Envoy tells its peer what is free again once that is a half.
    """
    return {
        "max_concurrent_streams": calls,
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": min(2 * _STREAM_WINDOW * (calls + 1), _LARGEST_WINDOW),
        # Envoy ends a connection, with all of its calls, for what some libraries do and no gRPC server minds: a second
        # empty DATA frame, windows that are opened by small steps, priorities, pings. Each costs about as much as any
        # other frame, and so does not pay for an attack; what waits to be sent stays bounded.
        "max_consecutive_inbound_frames_with_empty_payload": _HARMLESS,
        "max_inbound_window_update_frames_per_data_frame_sent": _HARMLESS,
        "max_inbound_priority_frames_per_stream": _HARMLESS,
        "max_outbound_control_frames": _HARMLESS,
        # One bad call does not end its connection's others.
        "override_stream_error_on_invalid_http_message": True,
        # For a longer value nghttp2 ends a connection with all of its calls. oghttp2 does not, and costs a forwarded
        # call a tenth more.
        **({"use_oghttp2_codec": True} if metadata > _LONGEST_VALUE else {}),
    }
