"""`Swap`: replaces one variable of the app: which containers have it, its original, and the operations."""

from dataclasses import dataclass
from typing import Any

from proxy.injector import addresses, containers
from proxy.injector.containers import Place
from proxy.injector.names import CONTAINER
from proxy.injector.operations import Operation
from proxy.injector.refusal import Refused, annotation


@dataclass(frozen=True, slots=True)
class Swap:
    """One variable of the app. `own` is the sidecar's name for its original; `given` is the address that the pod's
    annotation gives, if any.
    """

    variable: str
    own: str
    given: str | None = None

    def holders(self, chosen: list[Place], others: tuple[str, ...]) -> list[Place]:
        """The containers whose entry is replaced or added: those that have the variable, and those that have none of
        the `others` either. If the address is given, all that were chosen.
        """
        return [place for place in chosen if self.given is not None or self._has(place) or not _has_any(place, others)]

    def having(self, chosen: list[Place]) -> list[Place]:
        """The containers that have the variable."""
        return [place for place in chosen if self._has(place)]

    def _has(self, place: Place) -> bool:
        return bool(addresses.places(place.container, self.variable))

    def is_done(self, place: Place, address: str) -> bool:
        """Whether every entry of the variable already has the sidecar's address."""
        indexes = addresses.places(place.container, self.variable)
        return bool(indexes) and all(addresses.is_swapped(place.container["env"][each], address) for each in indexes)

    def original(self, todo: list[Place], present: Place | None, port: int) -> list[dict[str, Any]]:
        """The original that all these containers, and a sidecar that is already there, have in common.

        Raises Refused if they differ, or if it leads back to the sidecar.
        """
        if self.given is not None:
            found = {annotation("upstream"): addresses.literal(self.given)}
        else:
            found = {place.name: self._original_of(place, self.variable) for place in todo}
            if present:
                found[CONTAINER] = self._original_of(present, self.own)
        (first, original), *others = found.items()
        for name, other in others:
            if other != original:
                raise self._disagreement(first, name)
        if addresses.names_the_sidecar(original, port):
            raise Refused(
                "no-address",
                annotation("upstream"),
                f"{self.variable} names the sidecar itself ({original[-1]['value']}); set this to the real address",
            )
        return original

    def _disagreement(self, first: str, name: str) -> Refused:
        if name == CONTAINER:
            return Refused(
                "disagreement",
                annotation("upstream"),
                f"{self.variable} of {first} was changed after the sidecar had been added, by another webhook or by "
                "whoever copied the pod; keep them from changing it, or set this to the address to use",
            )
        return Refused(
            "disagreement",
            annotation("upstream"),
            f"{first} and {name} have different values of {self.variable}; set this to the one to use, or name one of "
            "them in containers",
        )

    def _original_of(self, place: Place, variable: str) -> list[dict[str, Any]]:
        indexes = addresses.places(place.container, variable)
        if not indexes:
            raise containers.no_address(place, variable)
        return addresses.original(place.container, indexes[-1], self.own)

    def operations(self, place: Place, address: str) -> list[Operation]:
        """Replaces the entries at their indexes, since `$(VAR)` only sees earlier entries; a new entry goes first."""
        where = ("spec", place.group, place.index, "env")
        env = place.container.get("env")
        new = addresses.swapped({"name": self.variable}, address)
        if env is None:
            return [Operation("add", where, [new])]
        indexes = addresses.places(place.container, self.variable)
        if not indexes:
            return [Operation("add", (*where, 0), new)]
        return [Operation("replace", (*where, each), addresses.swapped(env[each], address)) for each in indexes]


def joined(originals: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Several originals as one environment; an entry that equals the last one of its name is left out."""
    env: list[dict[str, Any]] = []
    for entry in (each for original in originals for each in original):
        last = next((each for each in reversed(env) if each["name"] == entry["name"]), None)
        if last != entry:
            env.append(entry)
    return env


def _has_any(place: Place, variables: tuple[str, ...]) -> bool:
    return any(addresses.places(place.container, variable) for variable in variables)
