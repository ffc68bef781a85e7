"""Ports: never one that the pod uses; the pod's wishes override the defaults."""

import pytest

from proxy.injector import ports
from proxy.injector.ports import Ports
from proxy.injector.refusal import Refused

NONE = {"port": None, "probe-port": None, "admin-port": None}


def test_defaults_where_nothing_is_in_the_way() -> None:
    assert ports.choose(dict(NONE), {}) == Ports(50066, 9464, 9901)


def test_a_default_in_use_gives_way_to_the_next_free_one() -> None:
    assert ports.choose(dict(NONE), {50066: "a", 50067: "b", 9464: "c"}) == Ports(50068, 9465, 9901)


def test_a_default_gives_way_to_a_wish_too() -> None:
    assert ports.choose({**NONE, "port": 9464, "admin-port": 50066}, {}) == Ports(9464, 9465, 50066)


def test_a_wish_in_use_is_refused_with_whose_it_is() -> None:
    with pytest.raises(Refused, match=r"^media-cache-proxy.io/port: 8080 is used by app; choose another one"):
        ports.choose({**NONE, "port": 8080}, {8080: "app"})


def test_the_same_wish_twice_is_refused() -> None:
    with pytest.raises(Refused, match=r"probe-port: 6000 is used by media-cache-proxy.io/port;"):
        ports.choose({**NONE, "port": 6000, "probe-port": 6000}, {})


def test_no_free_port_is_refused() -> None:
    with pytest.raises(Refused, match="no port from 50066 up is free"):
        ports.choose(dict(NONE), dict.fromkeys(range(50066, 65536), "app"))


def test_declared_tcp_ports_and_probed_ports_are_in_use() -> None:
    container = {
        "name": "app",
        "ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}, {"name": "odd"}],
        "livenessProbe": {"tcpSocket": {"port": 3}},
        "readinessProbe": {"httpGet": {"port": "by-name"}},
        "startupProbe": {"grpc": {"port": 4}},
    }
    assert ports.taken([container, {"name": "other", "ports": None, "livenessProbe": {"httpGet": None}}]) == {
        1: "app",
        3: "app",
        4: "app",
    }


@pytest.mark.parametrize(
    "where",
    [
        {"readinessProbe": {"tcpSocket": {"port": 9901}}},
        {"lifecycle": {"preStop": {"httpGet": {"path": "/", "port": 9901}}}},
        {"lifecycle": {"postStart": {"tcpSocket": {"port": 9901}}}},
    ],
    ids=str,
)
def test_a_port_that_is_asked_is_in_use(where: dict[str, object]) -> None:
    assert ports.taken([{"name": "app", **where}]) == {9901: "app"}
