"""`Place`: the containers of a pod with their positions, and which of them use the sidecar."""

from dataclasses import dataclass
from typing import Any

from proxy.injector import addresses
from proxy.injector.annotations import Wishes
from proxy.injector.names import CONTAINER
from proxy.injector.refusal import Refused, annotation, nearest


@dataclass(frozen=True, slots=True)
class Place:
    """A container and its position under `spec`: its group, `containers` or `initContainers`, and its index."""

    group: str
    index: int
    container: dict[str, Any]

    @property
    def name(self) -> str:
        """The container's name, unique in its pod."""
        return str(self.container["name"])


def places(spec: dict[str, Any]) -> list[Place]:
    """All containers of a pod, in the order in which Kubernetes starts them."""
    return [
        Place(group, index, container)
        for group in ("initContainers", "containers")
        for index, container in enumerate(spec.get(group) or ())
    ]


def chosen(spec: dict[str, Any], wishes: Wishes, variables: tuple[str, ...], *, native: bool) -> list[Place]:
    """The containers whose address is replaced, at least one; raises Refused if nothing says which.

    In container mode, init containers have ended before the sidecar starts, so they keep their address.
    """
    others = [place for place in places(spec) if place.name != CONTAINER]
    able = [place for place in others if native or place.group == "containers"]
    if wishes.containers is not None:
        return [_named(name, able) for name in wishes.containers]
    having = [place for place in able if any(addresses.places(place.container, each) for each in variables)]
    apps = [place for place in able if place.group == "containers"]
    if having:
        return having
    variable = " or ".join(variables)
    if wishes.upstream is None:
        raise _no_address(apps, variable)
    if len(apps) > 1:
        names = ", ".join(place.name for place in apps)
        raise Refused(
            "no-address",
            annotation("containers"),
            f"is needed, since none of {names} has {variable}; name those that should use the sidecar",
        )
    return apps


def no_address(place: Place, variable: str) -> Refused:
    """The refusal for a container that was named but has no entry of the variable."""
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
