"""One of several variables: the containers that have it, and several originals as one environment."""

from proxy.injector import containers, swapping
from proxy.injector.swapping import Swap

PLACES = containers.places(
    {
        "containers": [
            {"name": "both", "env": [{"name": "M", "value": "m:1"}, {"name": "P", "value": "p:1"}]},
            {"name": "other", "env": [{"name": "P", "value": "p:1"}]},
            {"name": "none"},
        ]
    }
)


def names(found: list[containers.Place]) -> list[str]:
    return [place.name for place in found]


def test_who_holds_it() -> None:
    main = Swap("M", "MEDIA_SERVICE_ADDR")
    assert names(main.having(PLACES)) == ["both"]
    assert names(main.holders(PLACES, ("P",))) == ["both", "none"], "none is refused: nothing shows what it means"
    assert names(Swap("M", "MEDIA_SERVICE_ADDR", "m:1").holders(PLACES, ("P",))) == ["both", "other", "none"]


def test_what_several_originals_share_is_said_once() -> None:
    tenant = {"name": "TENANT", "value": "blue"}
    green = {"name": "TENANT", "value": "green"}
    one, two, three = ({"name": name, "value": f"$(TENANT)-{name}:1"} for name in ("A", "B", "C"))
    assert swapping.joined([[tenant, one], [tenant, two], [green, three]]) == [tenant, one, two, green, three]
