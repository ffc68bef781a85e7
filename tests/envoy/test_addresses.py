"""gRPC targets and LISTEN_ADDR in Envoy's configuration."""

from typing import Any

import pytest

from proxy.envoy.addresses import is_ip, listening, target


def socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


@pytest.mark.parametrize(
    ("text", "addresses", "dns"),
    [
        ("media:50056", [socket("media", 50056)], True),
        ("dns:media:50056", [socket("media", 50056)], True),
        ("dns:///media.ns.svc:50056", [socket("media.ns.svc", 50056)], True),
        ("dns:///media", [socket("media", 443)], True),
        ("10.0.0.1:50056", [socket("10.0.0.1", 50056)], False),
        ("dns:///10.0.0.1:50056", [socket("10.0.0.1", 50056)], False),
        ("[::1]:50056", [socket("::1", 50056)], False),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", [socket("10.0.0.1", 1), socket("10.0.0.2", 2)], False),
        ("ipv4:10.0.0.1", [socket("10.0.0.1", 443)], False),
        ("ipv6:[::1]:1,[::2]:2", [socket("::1", 1), socket("::2", 2)], False),
        ("ipv4:///10.0.0.1:1", [socket("10.0.0.1", 1)], False),
        ("ipv6:%5B::1%5D:1", [socket("::1", 1)], False),
        ("[::ffff:10.0.0.1]:1", [socket("10.0.0.1", 1)], False),
        ("[fe80::1%2]:1", [socket("fe80::1%2", 1)], False),
        ("unix:/run/media.sock", [{"pipe": {"path": "/run/media.sock"}}], False),
        ("unix:///run/media.sock", [{"pipe": {"path": "/run/media.sock"}}], False),
        ("unix:media.sock", [{"pipe": {"path": "media.sock"}}], False),
        ("unix-abstract:media", [{"pipe": {"path": "@media"}}], False),
    ],
)
def test_a_target_is_where_grpc_would_look(text: str, addresses: list[Any], dns: bool) -> None:
    found = target(text)
    assert (list(found.addresses), found.dns, found.resolver) == (addresses, dns, None)


def test_a_targets_dns_server_is_asked() -> None:
    found = target("dns://10.0.0.53/media:50056")
    assert (found.addresses, found.dns, found.resolver) == ((socket("media", 50056),), True, socket("10.0.0.53", 53))


@pytest.mark.parametrize("text", ["xds:///media", "[fe80::1%eth0]:1"])
def test_a_target_that_only_grpcs_library_reaches_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"xds:|eth0"):
        target(text)


def test_we_listen_on_every_address_of_a_name() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1", "::1"]

    assert listening("localhost:50066", resolve) == {
        "address": socket("127.0.0.1", 50066),
        "additional_addresses": [{"address": socket("::1", 50066)}],
    }
    assert asked == ["localhost"]
    assert listening("127.0.0.1:1", resolve) == {"address": socket("127.0.0.1", 1)}
    assert len(asked) == 1


def test_all_of_ipv6_is_all_of_ipv4_too() -> None:
    address = {"address": "::", "port_value": 1, "ipv4_compat": True}
    assert listening("[::]:1", lambda _: []) == {"address": {"socket_address": address}}


def test_an_interface_is_named_by_its_number() -> None:
    assert listening("[fe80::1%2]:1", lambda _: []) == {"address": socket("fe80::1%2", 1)}
    with pytest.raises(ValueError, match=r"LISTEN_ADDR.* by their number"):
        listening("[fe80::1%eth0]:1", lambda _: [])


@pytest.mark.parametrize(("host", "expected"), [("10.0.0.1", True), ("::1", True), ("localhost", False), ("", False)])
def test_what_is_an_address(host: str, expected: bool) -> None:
    assert is_ip(host) is expected
