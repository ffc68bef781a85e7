"""Envoy's listener: which call goes where, and what is done to a call on its way. Pure.

1. The methods that the core answers: the `pyvoy` filter, which is off for all other routes.
2. Health and reflection: our own small gRPC server, on a Unix socket.
3. The other methods of the policy's services that are unary: straight to their service, CALL_TIMEOUT for callers
   without a deadline.
4. Any other `/service/method`: straight to its service, or to the default upstream, without a time limit.

Nothing is added to a call, and only calls that upstream never processed are repeated (I7). `x-envoy-*`, which Envoy
would obey, is removed before Envoy reads it. Envoy adds a `date` to every answer, as RFC 9110 (6.6.1) demands; it
cannot be turned off. The `:authority` of calls upstream is the service's.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from proxy.envoy.addresses import Json, Resolve, listening
from proxy.envoy.ended import CORE, OTHER, OURS, access_logs, local_replies, overwritten
from proxy.envoy.http2 import extension, http2
from proxy.envoy.renewed import ROUTES, from_file
from proxy.envoy.services import DEFAULT, Placed, builtin
from proxy.envoy.tls import towards_callers
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls
from proxy.transport.authority import authority

ENTRY = "media_cache_proxy_worker"
APP = f"{ENTRY}:app"
"""A copy of `worker`, in our own directory."""
PYVOY = "pyvoy"
OWN = "own"
"""The cluster of our own small server."""
BUFFER = 64 << 10
"""Bytes that wait on one connection, or in one call, before whoever sends is told to wait."""
_FIRST_BYTES_WITHIN = "5s"
_ANY_NUMBER = 1 << 40
_RESET_AT = 2
"""Times MAX_METADATA_BYTES. Envoy resets a call with more, without a word; below it the core refuses and says why."""
_MOST_ENTRIES = 1_000
_OURS = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
_PATH = "/[!-.0-~]+/[!-.0-~]+"


def listener(
    settings: Settings, module: str, directory: Path, resolve: Resolve, services: Sequence[Placed] | None = None
) -> Json:
    """The listener on LISTEN_ADDR; OSError when its host is not known.

    `module` is the path of pyvoy's, `directory` where the files of secrets are, `services` None: the built-in policy's.
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
                "filters": [_manager(settings, module, directory, builtin(settings) if services is None else services)],
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


def _manager(settings: Settings, module: str, directory: Path, services: Sequence[Placed]) -> Json:
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
                    overwritten(FORWARDED_PROTO, f"%REQ({_PROTO})%"),
                    # Without it an answer would lose its trailers, and with them its status.
                    overwritten("te", "trailers"),
                ],
            )
        ],
        stream_idle_timeout="0s",
        access_log=access_logs(),
        local_reply_config=local_replies(settings.max_concurrent_calls),
        http_filters=[_pyvoy(module), _router()],
        **(
            {"rds": {"route_config_name": ROUTES, "config_source": from_file(directory, ROUTES)}}
            if settings.policy
            else {"route_config": routes(settings, services)}
        ),
        max_request_headers_kb=-(-_RESET_AT * settings.max_metadata_bytes // 1024),
        common_http_protocol_options={
            "idle_timeout": "0s",
            "max_headers_count": _MOST_ENTRIES,
            **({"max_connection_duration": f"{settings.max_connection_age}s"} if settings.max_connection_age else {}),
        },
        http2_protocol_options={
            **http2(settings.max_calls_per_connection, settings.max_metadata_bytes),
            # By default a connection is closed after 1,000 resets, or 33 in a second, which callers' deadlines make.
            "stream_reset_burst": _ANY_NUMBER,
            "stream_reset_rate": _ANY_NUMBER,
            # A caller whose machine vanished is noticed after 80 s. Clients never mind pings from a server.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    )


_PROTO = "x-forwarded-proto"
FORWARDED_PROTO = "x-media-cache-forwarded-proto"
"""Where the caller's `x-forwarded-proto` waits inside of Envoy."""
_PLAIN = {"name": "content-type", "string_match": {"exact": "application/grpc"}}
PROTOBUF = {"name": "content-type", "string_match": {"safe_regex": {"regex": r"application/grpc(\+proto)?(;.*)?"}}}
"""The core stores what callers with this get. Upstream is asked directly for any other (`application/grpc+json`)."""
_PARAMETERS = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(\+[^; ]+)?[ \t]*;.*"}},
}


def routes(settings: Settings, services: Sequence[Placed]) -> Json:
    """Which call goes where."""
    return {
        "name": ROUTES,
        "virtual_hosts": [
            {
                "name": "callers",
                "domains": ["*"],
                "routes": _routes(settings, services),
                "retry_policy": _TRANSPARENT,  # here once: of each route it would take 1.5 kB
                # Envoy writes its own to every call; the caller's comes back in its place.
                "request_headers_to_remove": [_PROTO],
                "request_headers_to_add": [overwritten(_PROTO, f"%REQ({FORWARDED_PROTO})%")["append"]],
            }
        ],
        "request_headers_to_remove": [FORWARDED_PROTO],  # after the above: the innermost come first
    }


def _routes(settings: Settings, services: Sequence[Placed]) -> list[Json]:
    """Envoy tries one after the other, and of each the headers before the path. So what is called most comes first, and
    the regular expression after that.
    """
    limit = f"{settings.call_timeout}s" if settings.call_timeout else None
    default = _authority(settings.media_service_addr, UpstreamTls.of(settings))

    def core(each: Placed, match: Json, limit: str | None = limit) -> Json:
        return _in_core(straight(each, match, limit))

    def straight(each: Placed, match: Json, limit: str | None = limit) -> Json:
        name = each.labels[match["path"]]
        return _upstream(match, each.clusters.both, _authority(each.target, each.tls), limit, name=name)

    most = [core(each, {"path": path, "headers": [_PLAIN]}) for each in services for path in each.reads]
    others = [
        *(straight(each, {"path": path}) for each in services for path in each.labels if path not in _answered(each)),
        *(
            _of_any_spelling(core(each, {"path": path, "headers": [PROTOBUF]}))
            for each in services
            for path in each.reads
        ),
        *(
            core(each, {"path": path}, None if path in each.large else limit)
            for each in services
            for path in each.writes
        ),
        *(straight(each, {"path": path}) for each in services for path in each.reads),
        *(_once(_route({"prefix": prefix}, OWN, name=OURS)) for prefix in _OURS),
        *(
            _upstream({"prefix": f"/{each.name}/"}, each.clusters.both, _authority(each.target, each.tls))
            for each in services
            if each.clusters is not DEFAULT
        ),
        _upstream({"safe_regex": {"regex": _PATH}}, DEFAULT.both, default),
    ]
    return [*most, *others, *(_with_parameters(route) for route in others if "grpc" in route["match"])]


def _once(route: Json) -> Json:
    """Not as its virtual host has it: it is not tried again."""
    return {**route, "route": {**route["route"], "retry_policy": {}}}


def _of_any_spelling(route: Json) -> Json:
    """By its content-type alone, whose parameters do not count."""
    return {**route, "match": {key: value for key, value in route["match"].items() if key != "grpc"}}


def _with_parameters(route: Json) -> Json:
    """The same for a content-type such as `application/grpc; charset=utf-8`, which Envoy does not take for gRPC's."""
    plain = _of_any_spelling(route)
    return {**plain, "match": {**plain["match"], "headers": [_PARAMETERS]}}


def _authority(target: str, tls: UpstreamTls | None) -> str:
    return authority(target, tls.server_name if tls is not None else "")


def _answered(service: Placed) -> frozenset[str]:
    """By the core."""
    return frozenset((*service.reads, *service.writes))


def _upstream(match: Json, cluster: str, host: str, limit: str | None = None, *, name: str = OTHER) -> Json:
    """To a service. `host` is the `:authority`."""
    route = _route(match, cluster, limit, name=name)
    route["route"] |= {
        "host_rewrite_literal": host,
        "priority": "HIGH" if "path" in match else "DEFAULT",
    }
    return route


def _in_core(route: Json) -> Json:
    """The same by way of the core."""
    on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}, "disabled": False}
    return {**route, "name": CORE + route["name"], "typed_per_filter_config": {PYVOY: on}}


def _route(match: Json, cluster: str, limit: str | None = None, *, name: str) -> Json:
    """`limit` is for callers that set no deadline; one that was set counts. What it is counted under, `name`, is never
    the caller's text, which must not be of any number.
    """
    durations = {"grpc_timeout_header_max": "0s", **({"max_stream_duration": limit} if limit else {})}
    action: Json = {"cluster": cluster, "timeout": "0s", "max_stream_duration": durations}
    return {"name": name, "match": {**match, "grpc": {}}, "route": action}


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


def _router() -> Json:
    """By default it counts each call by its HTTP status, too: that costs more than all of `access_logs`, which count
    what callers see."""
    kind = "filters.http.router.v3.Router"
    return extension("envoy.filters.http.router", kind, suppress_envoy_headers=True, dynamic_stats=False)


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
