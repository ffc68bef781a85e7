"""`Swap`: one variable of the app: which containers hold it, what stands there, the sidecar's address in its place."""

from dataclasses import dataclass
from typing import Any

from proxy.injector import addresses, containers
from proxy.injector.containers import Place
from proxy.injector.names import CONTAINER
from proxy.injector.operations import Operation
from proxy.injector.refusal import Refused, annotation


@dataclass(frozen=True, slots=True)
class Swap:
    """`own` is the sidecar's name for what stood there; `given` is what the pod says that it is, if it does."""

    variable: str
    own: str
    given: str | None = None

    def holders(self, chosen: list[Place], others: tuple[str, ...]) -> list[Place]:
        """The containers whose entry is swapped: those that have it; of a given address, or where none of the other
        variables shows what is meant, those without it, too.
        """
        return [place for place in chosen if self.given is not None or self._has(place) or not _has_any(place, others)]

    def having(self, chosen: list[Place]) -> list[Place]:
        """Those that have it."""
        return [place for place in chosen if self._has(place)]

    def _has(self, place: Place) -> bool:
        return bool(addresses.places(place.container, self.variable))

    def is_done(self, place: Place, address: str) -> bool:
        """Whether every entry is the sidecar's address already."""
        indexes = addresses.places(place.container, self.variable)
        return bool(indexes) and all(addresses.is_swapped(place.container["env"][each], address) for each in indexes)

    def original(self, todo: list[Place], present: Place | None, port: int) -> list[dict[str, Any]]:
        """The one original of all these containers, and of the sidecar that is there already; Refused."""
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
                "who copied the pod; keep that from changing it, or set this to the address to use",
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
        """At the same index, since `$(VAR)` sees only the entries before it; a new one goes first for that reason."""
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
    """Several originals as one environment; what the last entry of a name says already is not said again."""
    env: list[dict[str, Any]] = []
    for entry in (each for original in originals for each in original):
        last = next((each for each in reversed(env) if each["name"] == entry["name"]), None)
        if last != entry:
            env.append(entry)
    return env


def _has_any(place: Place, variables: tuple[str, ...]) -> bool:
    return any(addresses.places(place.container, variable) for variable in variables)
