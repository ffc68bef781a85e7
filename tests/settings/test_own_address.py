"""What leads back to the proxy, in every spelling that gRPC takes."""

import pytest

from proxy.settings.own_address import endpoints, is_loopback, leads_back


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("media:1", [("media", 1)]),
        ("dns:///Media.:1", [("media", 1)]),
        ("dns://8.8.8.8/media:1", [("media", 1)]),
        ("dns:media:1", [("media", 1)]),
        ("passthrough:///[::1]:1", [("::1", 1)]),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", [("127.0.0.1", 1), ("10.0.0.1", 2)]),
        ("ipv6:[::1]:1,[fe80::1]:2", [("::1", 1), ("fe80::1", 2)]),
        ("ipv6:%5B::1%5D:1", [("::1", 1)]),
        ("[::ffff:127.0.0.1]:1", [("127.0.0.1", 1)]),
        ("unix:/run/media", []),
        ("unix:///run/media:1", []),
        ("media", []),
    ],
)
def test_what_a_target_names(target: str, found: list[tuple[str, int]]) -> None:
    assert endpoints(target) == found


@pytest.mark.parametrize(
    ("target", "listen"),
    [
        ("localhost:1", "127.0.0.1:1"),
        ("LOCALHOST.:1", "127.0.0.1:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("ipv4:127.0.0.1:1", "127.0.0.1:1"),
        ("ipv4:10.0.0.1:1,127.0.0.1:1", "127.0.0.1:1"),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1:1"),
        ("127.9.9.9:1", "[::]:1"),
        ("Proxy.example:1", "proxy.example:1"),
    ],
)
def test_what_leads_back(target: str, listen: str) -> None:
    assert leads_back(target, listen)


@pytest.mark.parametrize(
    ("target", "listen"),
    [
        ("127.9.9.9:1", "127.0.0.1:1"),
        ("localhost:2", "[::]:1"),
        ("media:1", "[::]:1"),
        ("unix:///run/localhost:1", "10.0.0.1:1"),
    ],
)
def test_what_does_not(target: str, listen: str) -> None:
    assert not leads_back(target, listen)


@pytest.mark.parametrize(
    ("host", "expected"), [("localhost", True), ("127.1.2.3", True), ("::", True), ("media", False)]
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
