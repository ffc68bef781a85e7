"""proxy.settings.grpc_target: the parts of a target, in each way in which gRPC takes one."""

import pytest

from proxy.settings.grpc_target import listed, split_target


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("media:1", ("", "media:1")),
        ("100%25:1", ("", "100%25:1")),
        ("dns:///media:1", ("dns", "///media:1")),
        ("ipv6:%5B::1%5D:1", ("ipv6", "[::1]:1")),
        ("unix:/run/a%20b", ("unix", "/run/a b")),
        ("unix-abstract:m", ("unix-abstract", "m")),
        ("passthrough:///media:1", ("passthrough", "///media:1")),
    ],
)
def test_a_target_has_a_scheme_and_is_then_a_uri(target: str, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_a_list_may_begin_with_slashes() -> None:
    assert listed("///10.0.0.1:1,10.0.0.2:2") == ["10.0.0.1:1", "10.0.0.2:2"]
