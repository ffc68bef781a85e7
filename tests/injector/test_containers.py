"""Which containers use the sidecar."""

from typing import Any

import pytest

from proxy.injector import containers
from proxy.injector.annotations import Wishes
from proxy.injector.refusal import Refused

HAS = [{"name": "M", "value": "media:1"}]
SPEC: dict[str, Any] = {
    "initContainers": [{"name": "first", "env": HAS}],
    "containers": [{"name": "app", "env": HAS}, {"name": "log"}, {"name": "media-cache-proxy", "env": HAS}],
}


def chosen(spec: dict[str, Any] = SPEC, *, native: bool = True, **wishes: Any) -> list[str]:
    return [place.name for place in containers.chosen(spec, Wishes(**wishes), ("M",), native=native)]


def test_every_container_with_the_variable_but_never_ourselves() -> None:
    assert chosen() == ["first", "app"]
    assert chosen(native=False) == ["app"]


def test_those_that_are_named() -> None:
    assert chosen(containers=("log",)) == ["log"]


def test_the_only_app_where_the_address_is_given() -> None:
    assert chosen({"containers": [{"name": "app"}]}, upstream="media:1") == ["app"]


@pytest.mark.parametrize(
    ("spec", "wishes", "message"),
    [
        (SPEC, {"containers": ("ap",)}, "containers: no container ap can use it; did you mean app?"),
        (SPEC, {"containers": ("media-cache-proxy",)}, "containers: no container media-cache-proxy can use it"),
        ({"containers": [{"name": "a"}]}, {}, "upstream: in a the variable M is not there"),
        ({"containers": [{"name": "a", "envFrom": [{}]}]}, {}, "upstream: in a the variable M may come from envFrom"),
        (
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"upstream": "media:1"},
            "containers: is needed, since none of a, b has M; name those that should use the sidecar",
        ),
    ],
)
def test_what_nothing_says_is_refused(spec: dict[str, Any], wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        chosen(spec, **wishes)
    assert caught.value.message.startswith(f"media-cache-proxy.io/{message}")


def test_an_init_container_cannot_be_named_in_container_mode() -> None:
    with pytest.raises(Refused, match="no container first can use it"):
        chosen(native=False, containers=("first",))
