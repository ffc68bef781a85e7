"""Envoy's listener: which call goes where, and what is done to a call on its way. Pure.

1. The methods that the core answers: the `pyvoy` filter, which is off for all other routes.
2. Health and reflection: our own small gRPC server, on a Unix socket.
3. The other methods of MediaService, which are known to be unary: straight to the media service, CALL_TIMEOUT for
   callers without a deadline.
4. What else is a `/service/method`: straight to the media service, for as long as it takes.

Nothing is added to a call and nothing is tried again (I7). What Envoy takes for instructions to itself, `x-envoy-*`, is
taken off before it can read it. To every answer it adds a `date`, as RFC 9110 (6.6.1) demands; there is no switch.
"""

import json
from pathlib import Path
from typing import Any

from grpc import StatusCode

from proxy.envoy.addresses import Json, Resolve, listening
from proxy.envoy.tls import towards_callers
from proxy.settings.config import Settings

APP = "proxy.envoy.worker:app"
PYVOY = "pyvoy"
COUNTED = "forwarded"
"""Names the statistics of forwarded calls, and what a route says for them."""
MEDIA, UPSTREAM, AGAIN, OWN = "media", "upstream", "again", "own"
"""Clusters: of the media service by `bootstrap`'s three names, and our own small server."""
BUFFER = 64 << 10
"""Bytes that wait on one connection, or in one call, before whoever sends is told to wait."""
_STREAM_WINDOW = 64 << 10
_LARGEST_WINDOW = (1 << 31) - 1
_OWN_CALLS = 1_000
"""At once on the connection to our own small server."""
_FIRST_BYTES_WITHIN = "5s"
_IDLE = "300s"
"""How long a connection upstream without calls is kept: its caller's connection may be gone."""
_FROM_UPSTREAM_KB = 1024
"""Of response metadata: upstream's own limit comes first, this only bounds memory."""
_RESET_AT = 2
"""Times MAX_METADATA_BYTES. Envoy resets a call with more, without a word; below it the core refuses and says why."""
_MOST_ENTRIES = 1_000
_MOST_ENTRIES_FROM_UPSTREAM = 10_000
_SERVICE = "/media.MediaService"
_UPLOAD = f"{_SERVICE}/UploadFile"
_CORE = (f"{_SERVICE}/GetFilesByModel", _UPLOAD, f"{_SERVICE}/DeleteFile")
_UNARY = tuple(f"{_SERVICE}/{name}" for name in ("GetFileByID", "GetFileByUUID", "GetFileURL", "GetAllMedia"))
"""Written out, so that `serve` need not load protobuf: the interpreter inside Envoy has it."""
_OURS = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
_PATH = "/[!-.0-~]+/[!-.0-~]+"


def extension(name: str, kind: str, **config: Any) -> Json:
    """One of Envoy's extensions: `kind` is its message below envoy.extensions."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


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
        # A connection that has not said in time that it speaks HTTP/2, or TLS, is closed.
        "listener_filters": [_first_bytes(tls=bool(settings.listen_tls_cert))],
        "listener_filters_timeout": _FIRST_BYTES_WITHIN,
        "filter_chains": [
            {
                "filters": [_manager(settings, module)],
                "transport_socket_connect_timeout": _FIRST_BYTES_WITHIN,
                **towards_callers(settings, directory),
            },
        ],
    }


def _first_bytes(*, tls: bool) -> Json:
    """A filter that waits for what a connection begins with."""
    if tls:
        return extension("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector")
    return extension("envoy.filters.listener.http_inspector", "filters.listener.http_inspector.v3.HttpInspector")


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
        early_header_mutation_extensions=[
            extension(
                "envoy.http.early_header_mutation.header_mutation",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[
                    {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                    # Without it an answer would lose its trailers, and with them its status.
                    _set("te", "trailers"),
                ],
            )
        ],
        access_log=[_counted()],
        stream_idle_timeout="0s",
        local_reply_config=_local_replies(settings.max_concurrent_calls),
        http_filters=[_pyvoy(module), extension(_ROUTER, "filters.http.router.v3.Router", suppress_envoy_headers=True)],
        route_config={
            "virtual_hosts": [{"name": "callers", "domains": ["*"], "routes": _routes(settings)}],
            # Envoy adds it to what it takes for requests of a browser.
            "request_headers_to_remove": ["x-forwarded-proto"],
        },
        max_request_headers_kb=-(-_RESET_AT * settings.max_metadata_bytes // 1024),
        common_http_protocol_options={
            "idle_timeout": "0s",
            "max_headers_count": _MOST_ENTRIES,
            **({"max_connection_duration": f"{settings.max_connection_age}s"} if settings.max_connection_age else {}),
        },
        http2_protocol_options={
            **_http2(settings.max_calls_per_connection),
            # The other codec closes a connection after 1,000 resets, or 33 in a second, which callers' deadlines make.
            "use_oghttp2_codec": True,
            # A caller whose machine vanished is noticed after 80 s. Clients never mind pings from a server.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    )


_ROUTER = "envoy.filters.http.router"


def _counted() -> Json:
    """Counts each call that Envoy answers or forwards by itself, by method and outcome, with how long it took:
    `forwarded` reads that."""
    not_ours = [_elsewhere({"exact": path}) for path in _CORE] + [_elsewhere({"prefix": prefix}) for prefix in _OURS]
    tags = {
        "method": f"%METADATA(ROUTE:{COUNTED}:method)%",
        "code": "%GRPC_STATUS_NUMBER%",
        "flags": "%RESPONSE_FLAGS%",
    }
    stat = {"name": "calls", "tags": [{"name": name, "value_format": value} for name, value in tags.items()]}
    return {
        **extension(
            "envoy.access_loggers.stats",
            "access_loggers.stats.v3.Config",
            stats_scope={"prefix": COUNTED},
            histograms=[{"stat": stat, "unit": "Milliseconds", "value_format": "%DURATION%"}],
        ),
        "filter": {"and_filter": {"filters": not_ours}},
    }


def _elsewhere(path: Json) -> Json:
    """A filter of the access log: calls of other methods."""
    return {"header_filter": {"header": {"name": ":path", "string_match": path, "invert_match": True}}}


def _routes(settings: Settings) -> list[Json]:
    limit = f"{settings.call_timeout}s" if settings.call_timeout else None
    return [
        *(_route({"path": path}, MEDIA, None if path == _UPLOAD else limit, pyvoy=True) for path in _CORE),
        *(_route({"prefix": prefix}, OWN) for prefix in _OURS),
        *(_route({"path": path}, MEDIA, limit) for path in _UNARY),
        _route({"safe_regex": {"regex": _PATH}}, MEDIA),
    ]


def _route(match: Json, cluster: str, limit: str | None = None, *, pyvoy: bool = False) -> Json:
    """`limit` is for callers that set no deadline; a deadline that was set counts as it is."""
    durations = {"grpc_timeout_header_max": "0s", **({"max_stream_duration": limit} if limit else {})}
    route: Json = {
        "match": {**match, "grpc": {}},
        "route": {"cluster": cluster, "timeout": "0s", "max_stream_duration": durations},
    }
    if cluster == MEDIA:
        route["route"] |= {"retry_policy": _TRANSPARENT, "priority": "DEFAULT" if "safe_regex" in match else "HIGH"}
    if cluster == MEDIA and not pyvoy:
        route["metadata"] = {"filter_metadata": {COUNTED: {"method": match.get("path", "")}}}
    if pyvoy:
        on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}, "disabled": False}
        route["typed_per_filter_config"] = {PYVOY: on}
    return route


_TRANSPARENT: Json = {
    "retry_on": "refused-stream,reset-before-request",
    "num_retries": 1,
    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
    "retry_priority": extension(
        "envoy.retry_priorities.previous_priorities",
        "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        update_frequency=1,
    ),
}
"""What upstream never processed (refused, or above the last call of its GOAWAY) is tried once more, as gRPC's own
libraries do (gRFC A6): they cannot any more, to them the call has begun. Nothing else is tried again."""


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


def _local_replies(most_calls: int) -> Json:
    """What Envoy answers itself, with the status that gRPC has for it; by default all of it is UNAVAILABLE, on which
    callers make calls again. The first that fits counts.

    Envoy does not tell with which code upstream reset a call. Of RST_STREAM's fourteen most are INTERNAL to gRPC.
    """
    too_many = f"the proxy serves at most {most_calls} calls at once (MAX_CONCURRENT_CALLS)"
    words = {"body_format_override": {"text_format_source": {"inline_string": too_many}}}
    return {
        "mappers": [
            {**_answered("UO", StatusCode.RESOURCE_EXHAUSTED), **words},
            _answered("URX", StatusCode.UNAVAILABLE),  # never processed, twice
            _answered("UR", StatusCode.INTERNAL),
            _answered("UPE", StatusCode.INTERNAL),
        ]
    }


def _answered(flag: str, code: StatusCode) -> Json:
    """A mapper: what Envoy answers with this of its response flags has that status."""
    return {
        "filter": {"response_flag_filter": {"flags": [flag]}},
        "headers_to_add": [_set("grpc-status", str(code.value[0]))["append"]],
    }


def _set(key: str, value: str) -> Json:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def as_client(calls: int = _OWN_CALLS, idle: str = _IDLE) -> Json:
    """What a cluster has for our side as a client, with at most so many calls at once on a connection."""
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options: Json = {
        "@type": f"type.googleapis.com/{kind}",
        "explicit_http_config": {"http2_protocol_options": _http2(calls)},
        "common_http_protocol_options": {
            "idle_timeout": idle,
            "max_headers_count": _MOST_ENTRIES_FROM_UPSTREAM,
            "max_response_headers_kb": _FROM_UPSTREAM_KB,
        },
    }
    return {"typed_extension_protocol_options": {kind: options}}


def _http2(calls: int) -> Json:
    """The options of either side, for a connection that carries at most so many calls at once.

    Each may hold back as much as its own window, and the connection's is as large as all of these: whatever some do not
    read, the others' bytes pass.
    """
    return {
        "max_concurrent_streams": calls,
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": min(_STREAM_WINDOW * (calls + 1), _LARGEST_WINDOW),
        # One bad call does not end its connection's others.
        "override_stream_error_on_invalid_http_message": True,
    }
