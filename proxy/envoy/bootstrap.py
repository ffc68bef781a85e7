"""What Envoy is told: a pure function of the settings. `listener` decides which call goes where, this file the rest.

Reference: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
"""

from dataclasses import dataclass
from pathlib import Path

from proxy.envoy.addresses import Json, Resolve, Target, pipe, target
from proxy.envoy.listener import BUFFER, OWN, UPSTREAM, as_client, extension, listener
from proxy.envoy.tls import towards_upstream
from proxy.settings.config import Settings

_NAME = "media-cache-proxy"
MOST_CONNECTIONS = 1_000
"""Callers' connections at once. A sidecar has a handful."""
_DNS_EVERY = "5s"
_TCP, _TCP_USER_TIMEOUT = 6, 18
_DEAD_AFTER_MS = 20_000
_RELEASED = 64 << 20
"""Bytes of freed memory that are given back to the machine in one go."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is on this machine: a directory of ours for sockets, pyvoy's module, and a file of the public CAs."""

    directory: Path
    module: str
    authorities: str

    @property
    def admin(self) -> str:
        """Envoy's admin interface: a socket, in a directory that is ours alone."""
        return str(self.directory / "admin.sock")

    @property
    def own(self) -> str:
        """Where health and reflection are answered."""
        return str(self.directory / "own.sock")


def bootstrap(settings: Settings, place: Place, resolve: Resolve) -> Json:
    """The configuration, as JSON would hold it.

    ValueError, with the setting's name, for an address that Envoy cannot use.
    """
    try:
        upstream = target(settings.media_service_addr)
    except ValueError:
        raise ValueError(
            f"MEDIA_SERVICE_ADDR: {settings.media_service_addr!r} cannot be reached with TRANSPORT=envoy; accepted: "
            "host:port, dns:///host:port, ipv4:a.b.c.d:port, ipv6:[…]:port, unix:/path"
        ) from None
    return {
        "node": {"id": _NAME, "cluster": _NAME},
        "admin": {"address": pipe(place.admin), "ignore_global_conn_limit": True},
        "static_resources": {
            "listeners": [listener(settings, place.module, place.directory, resolve)],
            "clusters": [
                {
                    **_upstream(upstream, settings.max_concurrent_calls),
                    **towards_upstream(settings, upstream, place.directory, place.authorities),
                },
                _cluster(OWN, Target((pipe(place.own),))),
            ],
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=MOST_CONNECTIONS,
                )
            ]
        },
        "memory_allocator_manager": {"bytes_to_release": _RELEASED, "memory_release_interval": "10s"},
    }


def _upstream(upstream: Target, most_calls: int) -> Json:
    """The media service: no retries, no outlier ejection, and as many calls as callers may make."""
    return {
        **_cluster(UPSTREAM, upstream),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": most_calls,
                    "max_pending_requests": most_calls,
                    "max_requests": most_calls,
                    "max_retries": 0,
                }
            ]
        },
        # A dead peer is noticed without HTTP/2 pings, which servers with defaults punish when they come without a call.
        "upstream_bind_config": {
            "socket_options": [
                {
                    "description": "TCP_USER_TIMEOUT",
                    "level": _TCP,
                    "name": _TCP_USER_TIMEOUT,
                    "int_value": _DEAD_AFTER_MS,
                }
            ]
        },
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 10, "keepalive_probes": 2}
        },
    }


def _cluster(name: str, where: Target) -> Json:
    first, *more = where.addresses
    endpoint: Json = {"address": first}
    if more:
        # Tried in order, one after the other (RFC 8305), as gRPC's pick_first does.
        endpoint["additional_addresses"] = [{"address": each} for each in more]
    return {
        "name": name,
        **(_lookup(where.resolver) if where.dns else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                **as_client(),
            }
        },
    }


def _lookup(resolver: Json | None) -> Json:
    """As gRPC's pick_first: one of the name's addresses, the next where it refuses; looked up anew while we live."""
    options: Json = {
        "all_addresses_in_single_endpoint": True,
        "dns_lookup_family": "ALL",
        "dns_refresh_rate": _DNS_EVERY,
        "dns_failure_refresh_rate": {"base_interval": "0.2s", "max_interval": "1s"},
    }
    if resolver is not None:
        options["typed_dns_resolver_config"] = extension(
            "envoy.network.dns_resolver.cares",
            "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            resolvers=[resolver],
        )
    # A name that is not known yet does not hold up the start.
    return {
        "cluster_type": extension("envoy.clusters.dns", "clusters.dns.v3.DnsCluster", **options),
        "wait_for_warm_on_init": False,
    }
