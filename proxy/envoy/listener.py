"""Envoy's listener: where each call goes, and what is changed in it. Pure.

1. The methods that the core answers go to the `pyvoy` filter, which is disabled for all other routes.
2. Health and reflection go to the proxy's own small gRPC server, on a Unix socket.
3. Other unary methods of the policy's services go directly to their service, with CALL_TIMEOUT for callers without a
   deadline.
4. Any other `/service/method` goes directly to its service, or to the default upstream, without a time limit.

Nothing is added to a call, and only calls that upstream never processed are repeated (I7). `x-envoy-*` headers, which
Envoy would obey, are removed before Envoy reads them. Envoy adds a `date` to every answer, as RFC 9110 (6.6.1) demands;
this cannot be turned off. The `:authority` of calls upstream names the service.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from proxy.envoy.addresses import Json, Resolve, listening
from proxy.envoy.dynamic_config import ROUTES, from_file
from proxy.envoy.ended_calls import CORE, OTHER, OURS, access_logs, local_replies, overwritten
from proxy.envoy.http2 import extension, http2
from proxy.envoy.services import DEFAULT, Placed, builtin
from proxy.envoy.tls import towards_callers
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls
from proxy.transport.authority import authority

ENTRY = "media_cache_proxy_worker"
APP = f"{ENTRY}:app"
"""The application in a copy of `worker`, in the process' private directory."""
PYVOY = "pyvoy"
OWN = "own"
"""The cluster of the proxy's own server for health and reflection."""
BUFFER = 64 << 10
"""Maximum bytes buffered for one connection or call before the sender must wait."""
_FIRST_BYTES_WITHIN = "5s"
_ANY_NUMBER = 1 << 40
_RESET_AT = 2
"""Multiple of MAX_METADATA_BYTES beyond which Envoy resets a call without a message. Up to it, the core refuses the
call and says why."""
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
    """The listener on LISTEN_ADDR. Raises OSError if its host is unknown, ValueError if Envoy cannot use the address.

    `module` is the path of pyvoy's module, `directory` the one with the files of secrets. If `services` is None, they
    are those of the built-in policy.
    """
    return {
        "name": "callers",
        **listening(settings.listen_addr, resolve),
        # Otherwise two processes on one port would silently share its callers; the second one should fail.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": BUFFER,
        # A connection that does not begin to speak HTTP/2 or TLS in this time is closed.
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
    """A filter that waits for the first bytes of a connection."""
    if tls:
        return extension("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector")
    return extension("envoy.filters.listener.http_inspector", "filters.listener.http_inspector.v3.HttpInspector")


def _manager(settings: Settings, module: str, directory: Path, services: Sequence[Placed]) -> Json:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        codec_type="HTTP2",
        stat_prefix="callers",
        # I7: Envoy adds none of these headers.
        server_header_transformation="PASS_THROUGH",
        generate_request_id=False,
        preserve_external_request_id=True,
        skip_xff_append=True,
        # A mesh identifies callers by this header. As with a direct call, upstream decides whom it believes.
        forward_client_cert_details="ALWAYS_FORWARD_ONLY",
        early_header_mutation_extensions=[
            extension(
                "envoy.http.early_header_mutation.header_mutation",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[
                    {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
                    {"remove": FORWARDED_PROTO},
                    overwritten(FORWARDED_PROTO, f"%REQ({_PROTO})%"),
                    # Without this header, an answer would lose its trailers and so its status.
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
            # By default a connection is closed after 1,000 resets, or 33 per second. Callers' deadlines cause as many.
            "stream_reset_burst": _ANY_NUMBER,
            "stream_reset_rate": _ANY_NUMBER,
            # A caller whose machine vanished is noticed after 80 s. Clients accept any number of pings from a server.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    )


_PROTO = "x-forwarded-proto"
FORWARDED_PROTO = "x-media-cache-forwarded-proto"
"""The header that keeps the caller's `x-forwarded-proto` inside Envoy."""
_PLAIN = {"name": "content-type", "string_match": {"exact": "application/grpc"}}
PROTOBUF = {"name": "content-type", "string_match": {"safe_regex": {"regex": r"application/grpc(\+proto)?(;.*)?"}}}
"""The core answers and stores only calls with this content-type; others (`application/grpc+json`) go to upstream."""
_PARAMETERS = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(\+[^; ]+)?[ \t]*;.*"}},
}


def routes(settings: Settings, services: Sequence[Placed]) -> Json:
    """The route configuration: where each call goes."""
    return {
        "name": ROUTES,
        "virtual_hosts": [
            {
                "name": "callers",
                "domains": ["*"],
                "routes": _routes(settings, services),
                "retry_policy": _TRANSPARENT,  # here only once, because it takes 1.5 kB per route
                # Envoy sets its own value on every call; this restores the caller's.
                "request_headers_to_remove": [_PROTO],
                "request_headers_to_add": [overwritten(_PROTO, f"%REQ({FORWARDED_PROTO})%")["append"]],
            }
        ],
        "request_headers_to_remove": [FORWARDED_PROTO],  # applied after the above, because the innermost come first
    }


def _routes(settings: Settings, services: Sequence[Placed]) -> list[Json]:
    """The routes in the order in which Envoy tries them. For each, it compares the headers before the path. So the most
    frequent calls come first, and regular expressions after them.
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
    """The route without the retry policy of its virtual host."""
    return {**route, "route": {**route["route"], "retry_policy": {}}}


def _of_any_spelling(route: Json) -> Json:
    """The route for any content-type that its own headers match, instead of those that Envoy recognizes as gRPC."""
    return {**route, "match": {key: value for key, value in route["match"].items() if key != "grpc"}}


def _with_parameters(route: Json) -> Json:
    """The route for content-types such as `application/grpc; charset=utf-8`, which Envoy does not recognize as gRPC."""
    plain = _of_any_spelling(route)
    return {**plain, "match": {**plain["match"], "headers": [_PARAMETERS]}}


def _authority(target: str, tls: UpstreamTls | None) -> str:
    return authority(target, tls.server_name if tls is not None else "")


def _answered(service: Placed) -> frozenset[str]:
    """The methods that the core answers."""
    return frozenset((*service.reads, *service.writes))


def _upstream(match: Json, cluster: str, host: str, limit: str | None = None, *, name: str = OTHER) -> Json:
    """A route to a service. `host` is the `:authority`."""
    route = _route(match, cluster, limit, name=name)
    route["route"] |= {
        "host_rewrite_literal": host,
        "priority": "HIGH" if "path" in match else "DEFAULT",
    }
    return route


def _in_core(route: Json) -> Json:
    """The route through the core."""
    on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}, "disabled": False}
    return {**route, "name": CORE + route["name"], "typed_per_filter_config": {PYVOY: on}}


def _route(match: Json, cluster: str, limit: str | None = None, *, name: str) -> Json:
    """`limit` applies to callers that set no deadline. The route is counted under `name`, which is never the caller's
    text, because the number of names must be bounded.
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
"""A call that upstream never processed (refused, or above the last call of its GOAWAY) is tried once more, as gRPC's
own libraries do (gRFC A6). The caller's library cannot, because to it the call has begun. Nothing else is retried."""


def _router() -> Json:
    """The router without its own counts by HTTP status. They cost more than all of `access_logs`, which count what
    callers see."""
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
