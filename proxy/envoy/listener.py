"""Envoy's listener: which call goes where, and what is done to a call on its way. Pure.

1. The methods that the core answers: the `pyvoy` filter, which is off for all other routes.
2. Health and reflection: our own small gRPC server, on a Unix socket.
3. The other methods of MediaService, which are known to be unary: straight to the media service, CALL_TIMEOUT for
   callers without a deadline.
4. What else is a `/service/method`: straight to the media service, for as long as it takes.

Nothing is added to a call and nothing is tried again (I7). What Envoy takes for instructions to itself, `x-envoy-*`, is
taken off before it can read it. To every answer it adds a `date`, as RFC 9110 (6.6.1) demands; there is no switch. The
`:authority` of what goes upstream is the media service's.
"""

import json
from pathlib import Path
from typing import Any

from proxy.envoy.addresses import Json, Resolve, listening
from proxy.envoy.tls import towards_callers
from proxy.settings.config import Settings
from proxy.transport.authority import authority

APP = "proxy.envoy.worker:app"
PYVOY = "pyvoy"
UPSTREAM, OWN = "upstream", "own"
PREFIX = "callers_ended"
"""Of the statistics that the access log makes; `outcomes` reads them."""
OURS, OTHER = "ours", "other"
"""Names of routes: health and reflection; methods that are none of MediaService. The others are methods' names."""
BUFFER = 64 << 10
"""Bytes that wait on one connection, or in one call, before whoever sends is told to wait."""
_HTTP2: Json = {
    "initial_stream_window_size": 64 << 10,
    "initial_connection_window_size": 1 << 20,
    # One bad call does not end its connection's others.
    "override_stream_error_on_invalid_http_message": True,
}
"""On both sides."""
_FROM_UPSTREAM_KB = 1024
"""Of response metadata: upstream's own limit comes first, this only bounds memory."""
_RESET_AT = 2
"""Times MAX_METADATA_BYTES. Envoy resets a call with more, without a word; below it the core refuses and says why."""
_MOST_ENTRIES = 1_000
_MOST_ENTRIES_FROM_UPSTREAM = 10_000
_SERVICE = "/media.MediaService"
_UPLOAD = f"{_SERVICE}/UploadFile"
_READ, _DELETE = f"{_SERVICE}/GetFilesByModel", f"{_SERVICE}/DeleteFile"
_UNARY = tuple(f"{_SERVICE}/{name}" for name in ("GetFileByID", "GetFileByUUID", "GetFileURL", "GetAllMedia"))
"""Written out, so that `serve` need not load protobuf: the interpreter inside Envoy has it."""
_OURS = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
_PATH = "/[!-.0-~]+/[!-.0-~]+"


def listener(settings: Settings, module: str, directory: Path, resolve: Resolve) -> Json:
    """The listener on LISTEN_ADDR; OSError when its host is not known.

    `module` is the path of pyvoy's, `directory` where the files of secrets are.
    """
    return {
        "name": "callers",
        **listening(settings.listen_addr, resolve),
        # Two processes on one port would share its callers silently; the second is to fail.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [
            {"filters": [_manager(settings, module)], **towards_callers(settings, directory)},
        ],
    }


def _manager(settings: Settings, module: str) -> Json:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        codec_type="HTTP2",
        stat_prefix="callers",
        # I7: of all these, none is added.
        server_header_transformation="PASS_THROUGH",
        generate_request_id=False,
        preserve_external_request_id=True,
        skip_xff_append=True,
        # By this a mesh tells its callers apart; as direct, it is for upstream to judge who may say so.
        forward_client_cert_details="ALWAYS_FORWARD_ONLY",
        early_header_mutation_extensions=[
            extension(
                "envoy.http.early_header_mutation.header_mutation",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[
                    {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                    {"remove": FORWARDED_PROTO},
                    _set(FORWARDED_PROTO, f"%REQ({_PROTO})%"),
                    # Without it an answer would lose its trailers, and with them its status.
                    _set("te", "trailers"),
                ],
            )
        ],
        stream_idle_timeout="0s",
        access_log=[_access_log()],
        local_reply_config=_local_replies(settings.max_concurrent_calls),
        http_filters=[_pyvoy(module), extension(_ROUTER, "filters.http.router.v3.Router", suppress_envoy_headers=True)],
        route_config={
            "virtual_hosts": [
                {
                    "name": "callers",
                    "domains": ["*"],
                    "routes": _routes(settings),
                    # Envoy writes its own to every call; the caller's comes back in its place.
                    "request_headers_to_remove": [_PROTO],
                    "request_headers_to_add": [_set(_PROTO, f"%REQ({FORWARDED_PROTO})%")["append"]],
                }
            ],
            "request_headers_to_remove": [FORWARDED_PROTO],  # after the above: the innermost come first
        },
        max_request_headers_kb=-(-_RESET_AT * settings.max_metadata_bytes // 1024),
        common_http_protocol_options={"idle_timeout": "0s", "max_headers_count": _MOST_ENTRIES},
        http2_protocol_options={
            **_HTTP2,
            "max_concurrent_streams": settings.max_calls_per_connection,
            # A caller whose machine vanished is noticed after 80 s. Clients never mind pings from a server.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    )


_ROUTER = "envoy.filters.http.router"
_PROTO = "x-forwarded-proto"
FORWARDED_PROTO = "x-media-cache-forwarded-proto"
"""Where the caller's `x-forwarded-proto` waits inside of Envoy."""
_PROTOBUF = {"name": "content-type", "string_match": {"safe_regex": {"regex": r"application/grpc(\+proto)?(;.*)?"}}}
"""The core stores what callers with this get. Upstream is asked directly for any other (`application/grpc+json`)."""


def _routes(settings: Settings) -> list[Json]:
    limit = f"{settings.call_timeout}s" if settings.call_timeout else None
    host = authority(settings.media_service_addr, settings.upstream_tls_server_name)
    return [
        _route({"path": _READ, "headers": [_PROTOBUF]}, UPSTREAM, limit, host=host, pyvoy=True),
        *(
            _route({"path": path}, UPSTREAM, time, host=host, pyvoy=True)
            for path, time in ((_UPLOAD, None), (_DELETE, limit))
        ),
        *(_route({"prefix": prefix}, OWN) for prefix in _OURS),
        *(_route({"path": path}, UPSTREAM, limit, host=host) for path in (_READ, *_UNARY)),
        _route({"safe_regex": {"regex": _PATH}}, UPSTREAM, host=host),
    ]


def _name(match: Json, cluster: str) -> str:
    """Never the caller's text: what it is counted under must not be of any number."""
    return OURS if cluster == OWN else match["path"].rpartition("/")[2] if "path" in match else OTHER


def _route(match: Json, cluster: str, limit: str | None = None, *, host: str = "", pyvoy: bool = False) -> Json:
    """`limit` is for callers that set no deadline; one that was set counts. `host` is the `:authority`."""
    durations = {"grpc_timeout_header_max": "0s", **({"max_stream_duration": limit} if limit else {})}
    action: Json = {"cluster": cluster, "timeout": "0s", "max_stream_duration": durations}
    if host:
        action["host_rewrite_literal"] = host
    route: Json = {"name": _name(match, cluster), "match": {**match, "grpc": {}}, "route": action}
    if pyvoy:
        on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}, "disabled": False}
        route["typed_per_filter_config"] = {PYVOY: on}
    return route


def _pyvoy(module: str) -> Json:
    app = {"app": APP, "interface": "asgi", "lifespan": True, "worker_threads": 1}
    return {
        **extension(
            PYVOY,
            "filters.http.dynamic_modules.v3.DynamicModuleFilter",
            dynamic_module_config={"module": {"local": {"filename": module}}},
            filter_name=PYVOY,
            filter_config={"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(app)},
        ),
        "disabled": True,
    }


def too_many_calls(most: int) -> str:
    """What a caller above MAX_CONCURRENT_CALLS is told."""
    return f"the proxy serves at most {most} calls at once (MAX_CONCURRENT_CALLS)"


def _local_replies(most_calls: int) -> Json:
    """A call above a limit is refused as the core refuses it."""
    too_many = too_many_calls(most_calls)
    return {
        "mappers": [
            {
                "filter": {"response_flag_filter": {"flags": ["UO"]}},
                "body_format_override": {"text_format_source": {"inline_string": too_many}},
                "headers_to_add": [_set("grpc-status", "8")["append"]],
            },
        ]
    }


def _access_log() -> Json:
    """Counts how calls ended, by route, gRPC status and why Envoy itself answered; writes nothing."""
    tags = {"method": "%ROUTE_NAME%", "status": "%GRPC_STATUS(SNAKE_STRING)%", "flags": "%RESPONSE_FLAGS%"}
    counter = {
        "stat": {"name": "calls", "tags": [{"name": name, "value_format": value} for name, value in tags.items()]},
        "value_fixed": 1,
    }
    return extension(
        "envoy.access_loggers.stats", "access_loggers.stats.v3.Config", stat_prefix=PREFIX, counters=[counter]
    )


def _set(key: str, value: str) -> Json:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def as_client() -> Json:
    """The HTTP/2 options of our side as a client."""
    return {
        "explicit_http_config": {"http2_protocol_options": _HTTP2},
        "common_http_protocol_options": {
            "idle_timeout": "0s",
            "max_headers_count": _MOST_ENTRIES_FROM_UPSTREAM,
            "max_response_headers_kb": _FROM_UPSTREAM_KB,
        },
    }


def extension(name: str, kind: str, **config: Any) -> Json:
    """One of Envoy's extensions: `kind` is its message below envoy.extensions."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}
