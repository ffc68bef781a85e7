"""The parts of Envoy's configuration that may change while it serves, if POLICY names a file: the clusters of the
policy's services, and the routes to them.

Each is a file in the process' private directory. Envoy reads it again when another file is moved into its place.

https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api
"""

import json
from collections.abc import Sequence
from pathlib import Path

from proxy.envoy.addresses import Json

CLUSTERS, ROUTES = "clusters", "routes"
_KINDS = {
    CLUSTERS: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    ROUTES: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}


def from_file(directory: Path, what: str) -> Json:
    """The configuration that makes Envoy read one of them from its file."""
    return {"path_config_source": {"path": str(directory / _file(what))}, "resource_api_version": "V3"}


def write(directory: Path, what: str, resources: Sequence[Json]) -> None:
    """Replaces the file atomically."""
    text = json.dumps({"resources": [{"@type": _KINDS[what], **each} for each in resources]}, indent=1)
    new = directory / f"{_file(what)}.new"
    new.write_text(text)
    new.replace(directory / _file(what))


def _file(what: str) -> str:
    return f"{what}.json"
