"""`bootstrap`: Envoy's configuration, a pure function of the settings. `listener` has the routes; the rest is here.

Reference: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.envoy.addresses import Json, Resolve, Target, pipe, target
from proxy.envoy.dynamic_config import CLUSTERS, from_file
from proxy.envoy.ended_calls import DURATIONS, PREFIX
from proxy.envoy.http2 import as_client, extension
from proxy.envoy.listener import BUFFER, OWN, listener
from proxy.envoy.services import DEFAULT, Clusters, Placed, builtin
from proxy.envoy.tls import towards_upstream
from proxy.errors import BadPolicyError, SettingError
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls
from proxy.telemetry.buckets import CALL_SECONDS

_NAME = "media-cache-proxy"
_DNS_EVERY = "5s"
BUCKETS_MS = [round(1000 * bound) for bound in CALL_SECONDS if bound >= 0.001]
"""The bounds of the histogram's buckets in milliseconds. Envoy measures calls in whole milliseconds."""
_TCP, _TCP_USER_TIMEOUT = 6, 18
_DEAD_AFTER_MS = 20_000
_RELEASED = 64 << 20
"""Bytes of freed memory that are returned to the machine at a time."""
_RUNTIME: Json = {
    # By default a connection is closed if half of its calls (at least 250) were reset within two seconds of their
    # beginning. A hanging media service looks just like that, because its callers' deadlines pass.
    "overload.premature_reset_total_stream_count": 1 << 40,
    # Against rapid resets (CVE-2023-44487), Envoy begins at most so many calls of one connection before it turns to the
    # others. A call that is reset while it waits costs next to nothing. With 8, calls would go upstream and back in
    # groups of 8: three times as many system calls with 64 callers.
    "http.max_requests_per_io_cycle": 64,
}


@dataclass(frozen=True, slots=True)
class Place:
    """The paths on this machine: the process' private directory, pyvoy's module, and a file of the public CAs."""

    directory: Path
    module: str
    authorities: str

    @property
    def admin(self) -> str:
        """The socket of Envoy's admin interface, in the private directory."""
        return str(self.directory / "admin.sock")

    @property
    def config(self) -> Path:
        """The configuration that Envoy is started with."""
        return self.directory / "envoy.json"

    @property
    def policy(self) -> Path:
        """Everything that was read to build the policy behind Envoy's configuration; see `Watched.save`."""
        return self.directory / "policy.read"

    @property
    def own(self) -> str:
        """The socket of the server for health and reflection."""
        return str(self.directory / "own.sock")


def bootstrap(settings: Settings, place: Place, resolve: Resolve, services: Sequence[Placed] | None = None) -> Json:
    """The configuration in Envoy's JSON form. If `services` is None, they are those of the built-in policy.

    Raises SettingError for an address that Envoy cannot use, and OSError if the host of LISTEN_ADDR is unknown.
    """
    services = builtin(settings) if services is None else services
    own = _cluster(OWN, Target((pipe(place.own),)), as_client())
    if settings.policy:
        how: Json = {"dynamic_resources": {"cds_config": from_file(place.directory, CLUSTERS)}}
        clusters = [own]
    else:
        how, clusters = {}, [*clusters_of(settings, place, services), own]
    return {
        **how,
        "node": {"id": _NAME, "cluster": _NAME},
        "admin": {"address": pipe(place.admin), "ignore_global_conn_limit": True},
        "static_resources": {
            "listeners": [listener(settings, place.module, place.directory, resolve, services)],
            "clusters": clusters,
        },
        # Histograms are updated when they are queried, not every 5 s.
        "stats_flush_on_admin": True,
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"prefix": f"{PREFIX}.{DURATIONS}."}, "buckets": BUCKETS_MS}]
        },
        "layered_runtime": {"layers": [{"name": "ours", "static_layer": _RUNTIME}]},
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=settings.max_connections,
                )
            ]
        },
        "memory_allocator_manager": {"bytes_to_release": _RELEASED, "memory_release_interval": "10s"},
    }


def clusters_of(settings: Settings, place: Place, services: Sequence[Placed]) -> list[Json]:
    """The clusters of the services. Raises SettingError for an address that Envoy cannot use."""
    default = {DEFAULT: (settings.media_service_addr, UpstreamTls.of(settings))}
    ways = default | {each.clusters: (each.target, each.tls) for each in services}
    return [each for names, (where, tls) in ways.items() for each in _service(settings, where, tls, names, place)]


def _understood(settings: Settings, where: str) -> Target:
    try:
        return target(where)
    except ValueError:
        default = where == settings.media_service_addr
        name, kind = ("MEDIA_SERVICE_ADDR", SettingError) if default else ("POLICY: upstream", BadPolicyError)
        raise kind(
            f"{name}: {where!r} cannot be reached with TRANSPORT=envoy; accepted: "
            "host:port, dns:///host:port, ipv4:a.b.c.d:port, ipv6:[…]:port, unix:/path"
        ) from None


def _service(
    settings: Settings, where: str, how_reached: UpstreamTls | None, names: Clusters, place: Place
) -> list[Json]:
    """The three clusters of a service. A call first goes to the cluster `first`, over a connection that is shared only
    by calls of the same caller's connection. So bytes that one caller leaves unread do not use up another's window, in
    either direction.

    If upstream never processed the call, it goes once more to the cluster `again` (`listener`). There each connection
    carries one call at a time, so that the second attempt is not refused for the same reason: Envoy begins calls on a
    new connection before it knows how many upstream allows.
    """
    limits, upstream = _limits(settings.max_concurrent_calls), _understood(settings, where)
    tls = towards_upstream(how_reached, names, upstream, place.directory, place.authorities)
    ways = {
        names.first: as_client(settings.max_calls_per_connection, metadata=settings.max_metadata_bytes),
        names.again: as_client(1, idle="10s", metadata=settings.max_metadata_bytes),
    }
    both = extension(
        "envoy.clusters.aggregate", "clusters.aggregate.v3.ClusterConfig", clusters=[names.first, names.again]
    )
    return [
        *({**_cluster(name, upstream, how), **limits, **_REACHED, **tls} for name, how in ways.items()),
        {
            "name": names.both,
            "connect_timeout": "1s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": both,
            "connection_pool_per_downstream_connection": True,  # it has no effect on the other two clusters
            **limits,
        },
    ]


def _limits(most_calls: int) -> Json:
    """The limits of a cluster: no outlier ejection, and as many calls as callers may make. The methods of the policy,
    to which `listener` gives the priority HIGH, have as many places as all other methods, so that calls of the others
    cannot lock them out.
    """
    kinds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    limits = dict.fromkeys(kinds, most_calls)
    return {"circuit_breakers": {"thresholds": [{"priority": each, **limits} for each in ("DEFAULT", "HIGH")]}}


_REACHED: Json = {
    # A dead peer is noticed without HTTP/2 pings, which servers by default punish if no call is in progress.
    "upstream_bind_config": {
        "socket_options": [
            {"description": "TCP_USER_TIMEOUT", "level": _TCP, "name": _TCP_USER_TIMEOUT, "int_value": _DEAD_AFTER_MS}
        ]
    },
    "upstream_connection_options": {
        "tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 10, "keepalive_probes": 2}
    },
}


def _cluster(name: str, where: Target, how: Json) -> Json:
    first, *more = where.addresses
    endpoint: Json = {"address": first}
    if more:
        # Envoy tries them in order (RFC 8305), as gRPC's pick_first does.
        endpoint["additional_addresses"] = [{"address": each} for each in more]
    return {
        "name": name,
        **(_lookup(where.resolver) if where.dns else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        **how,
    }


def _lookup(resolver: Json | None) -> Json:
    """A cluster's options for a DNS name. Like gRPC's pick_first, it uses one of the name's addresses, or the next if
    that one refuses; the name is looked up again periodically.
    """
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
    # A name that cannot be resolved yet does not delay the start.
    return {
        "cluster_type": extension("envoy.clusters.dns", "clusters.dns.v3.DnsCluster", **options),
        "wait_for_warm_on_init": False,
    }
