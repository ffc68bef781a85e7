"""The containers of a pod: their positions, and which of them use the sidecar."""

from dataclasses import dataclass
from typing import Any

from proxy.injector import addresses
from proxy.injector.annotations import Wishes
from proxy.injector.names import CONTAINER
from proxy.injector.refusal import Refused, annotation, nearest


@dataclass(frozen=True, slots=True)
class Place:
    """A container and where it stands under `spec`: group `containers` or `initContainers`, index."""

    group: str
    index: int
    container: dict[str, Any]

    @property
    def name(self) -> str:
        """Unique in its pod."""
        return str(self.container["name"])


def places(spec: dict[str, Any]) -> list[Place]:
    """All of them, in the order in which Kubernetes starts them."""
    return [
        Place(group, index, container)
        for group in ("initContainers", "containers")
        for index, container in enumerate(spec.get(group) or ())
    ]


def chosen(spec: dict[str, Any], wishes: Wishes, variable: str, *, native: bool) -> list[Place]:
    """Those whose address is swapped, at least one; Refused when nothing says which.

    In container mode init containers are over before the sidecar starts, so they keep their address.
    """
    others = [place for place in places(spec) if place.name != CONTAINER]
    able = [place for place in others if native or place.group == "containers"]
    if wishes.containers is not None:
        return [_named(name, able) for name in wishes.containers]
    having = [place for place in able if addresses.places(place.container, variable)]
    apps = [place for place in able if place.group == "containers"]
    if having:
        return having
    if wishes.upstream is None:
        raise _no_address(apps, variable)
    if len(apps) > 1:
        names = ", ".join(place.name for place in apps)
        raise Refused(
            "no-address",
            annotation("containers"),
            f"is needed, since none of {names} has {variable}; name those that shall use the sidecar",
        )
    return apps


def no_address(place: Place, variable: str) -> Refused:
    """The refusal for one container that was named but does not show the variable."""
    return _no_address([place], variable)


def _named(name: str, able: list[Place]) -> Place:
    place = next((each for each in able if each.name == name), None)
    if place is None:
        known = [each.name for each in able]
        raise Refused(
            "no-container", annotation("containers"), f"no container {name} can use it; {nearest(name, known)}"
        )
    return place


def _no_address(apps: list[Place], variable: str) -> Refused:
    hidden = any(place.container.get("envFrom") for place in apps)
    problem = "may come from envFrom, which cannot be seen here" if hidden else "is not there"
    return Refused(
        "no-address",
        annotation("upstream"),
        f"in {', '.join(place.name for place in apps)} the variable {variable} {problem}; set this to the media "
        "service's address, or env to another variable's name",
    )
