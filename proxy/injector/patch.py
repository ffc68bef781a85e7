"""The patch: what to change in a pod so that it uses the sidecar. A pure function, and the only place that decides."""

import json
from dataclasses import dataclass, replace
from typing import Any

from proxy import __version__
from proxy.injector import addresses, annotations, asking, containers, placing, ports, resources, shape, sidecar
from proxy.injector.annotations import Wishes
from proxy.injector.asking import Asker
from proxy.injector.containers import Place
from proxy.injector.names import CONTAINER, DEFAULT_CONTAINER, INJECTED, STATUS, UPSTREAM_VARIABLE
from proxy.injector.namespace_rules import Rules
from proxy.injector.operations import Operation
from proxy.injector.ports import Ports
from proxy.injector.refusal import Refused, annotation
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import Version

NATIVE_STABLE: Version = (1, 33)
"""From here on native sidecars are stable, so `auto` uses them."""
NATIVE_KNOWN: Version = (1, 29)
"""From here on they are on by default, so who asks for one gets it."""
_LONGEST_WARNING = 256
"""The API server cuts longer ones."""
_PORTS = ("port", "probePort", "adminPort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known about a pod besides itself; `kubernetes` is the API server's version."""

    namespace: str
    kubernetes: Version
    job: bool = False
    rules: Rules = Rules()
    """What the namespace demands of resources, as far as it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`reason` is from a small fixed set; `asked` who wanted it; `message` says why a pod is not allowed."""

    reason: str
    asked: Asker = "namespace"
    allowed: bool = True
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""
    adds: bool = False
    """The sidecar is not there yet."""


def decide(pod: Any, request: Request, settings: InjectorSettings) -> Decision:
    """Never raises for what a pod says: an explicit wish that cannot be met is denied, an inherited one warned of."""
    found = asking.asked(pod)
    if found.wish == "false":
        return Decision(reason="opted-out", asked=found.by, warnings=tuple(map(_cut, found.warnings)))
    try:
        found.refuse_static()
        shape.check(pod)
        wishes = annotations.parse(found.annotations)
        decision = _Injection(pod, wishes, request, settings, counted=not found.explicit).decision()
    except Refused as refusal:
        if found.explicit:
            return Decision(reason=refusal.reason, asked="pod", allowed=False, message=refusal.message)
        said = (f"not injected: {refusal.message}", *found.warnings)
        return Decision(reason=refusal.reason, asked=found.by, warnings=tuple(map(_cut, said)))
    return replace(decision, asked=found.by, warnings=(*decision.warnings, *map(_cut, found.warnings)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WARNING else f"{text[: _LONGEST_WARNING - 1]}…"


class _Injection:
    """One pod's way through the steps: what is there, what is wanted, the operations in between."""

    def __init__(
        self, pod: dict[str, Any], wishes: Wishes, request: Request, settings: InjectorSettings, *, counted: bool
    ) -> None:
        self._counted = counted
        self._wishes, self._request, self._settings = wishes, request, settings
        self._pod = pod
        self._metadata: dict[str, Any] = pod.get("metadata") or {}
        self._spec: dict[str, Any] = pod["spec"]
        self._variable = wishes.env or settings.env
        self._operations: list[Operation] = []

    def decision(self) -> Decision:
        """Refused when a step finds the wish impossible."""
        self._refuse_hosts()
        present, status = self._present()
        if present:
            # Another installation, or an annotation that was changed since, may name another one.
            self._variable = str(status.get("env") or UPSTREAM_VARIABLE)
        native = present.group == "initContainers" if present else self._wants_native()
        chosen = containers.chosen(self._spec, self._wishes, self._variable, native=native)
        own = self._ports(status)
        address = f"127.0.0.1:{own.grpc}"
        todo = [place for place in chosen if not (present and self._is_done(place, address))]
        if present and not todo:
            return Decision(reason="already-injected")
        original = self._original(todo, present, own.grpc)
        for place in todo:
            self._swap(place, address)
        if not present:
            built = sidecar.build(
                original, own, self._wishes, self._settings, native=native, resources=self._resources(native=native)
            )
            self._operations.append(placing.sidecar(self._spec, built, native=native))
            self._operations += placing.pull_secrets(self._spec, self._settings.image_pull_secrets)
            self._operations += placing.volumes(self._spec)
        self._add_metadata(chosen, own, status, native=native)
        warnings = () if present else tuple(map(_cut, self._warnings(chosen, native=native)))
        return Decision(reason="injected", operations=tuple(self._operations), warnings=warnings, adds=present is None)

    def _resources(self, *, native: bool) -> dict[str, Any]:
        # Who asks for the sidecar itself may ask again until there is room; others must not be kept out.
        return resources.fitted(
            self._spec, self._wishes, self._settings, self._request.rules, native=native, counted=self._counted
        )

    def _refuse_hosts(self) -> None:
        selected = (self._spec.get("nodeSelector") or {}).get("kubernetes.io/os")
        if ((self._spec.get("os") or {}).get("name") or selected) == "windows":
            raise Refused(
                "windows", annotation("inject"), 'the pod is for Windows, the sidecar for Linux; set this to "false"'
            )
        if self._spec.get("hostNetwork"):
            raise Refused(
                "host-network",
                annotation("inject"),
                "with hostNetwork the sidecar's ports would be the node's; remove hostNetwork, or set this to "
                '"false" and give the app the address of a standalone proxy',
            )

    def _present(self) -> tuple[Place, dict[str, Any]] | tuple[None, dict[str, Any]]:
        """Our own container and the status we left; Refused when somebody else's has its name."""
        found = [place for place in containers.places(self._spec) if place.name == CONTAINER]
        if not found:
            return None, {}
        try:
            status = json.loads((self._metadata.get("annotations") or {}).get(STATUS) or "")
        except (TypeError, ValueError):
            status = None
        if not isinstance(status, dict) or not all(isinstance(status.get(each), int) for each in _PORTS):
            raise Refused(
                "foreign-container",
                annotation("inject"),
                f"the pod has a container named {CONTAINER} that is not ours; rename it",
            )
        return found[0], status

    def _wants_native(self) -> bool:
        version = self._request.kubernetes
        mode = self._wishes.mode or self._settings.mode
        if mode == "native" and version < NATIVE_KNOWN:
            raise Refused(
                "mode",
                annotation("mode"),
                f"native sidecars need Kubernetes 1.29, this is {version[0]}.{version[1]}; set container",
            )
        native = mode == "native" or (mode == "auto" and version >= NATIVE_STABLE)
        ends = self._is_job() or self._spec.get("restartPolicy") in {"Never", "OnFailure"}
        if not native and ends and self._wishes.allow_jobs != "true":
            raise Refused(
                "job",
                annotation("allow-jobs"),
                f"beside a sidecar in container mode this {'Job' if self._is_job() else 'pod'} would never end; set "
                'mode to native (Kubernetes 1.29 or newer), or this to "true"',
            )
        return native

    def _is_job(self) -> bool:
        owners = self._metadata.get("ownerReferences") or ()
        return self._request.job or any(owner.get("kind") == "Job" for owner in owners)

    def _ports(self, status: dict[str, Any]) -> Ports:
        if status:
            return Ports(*(status[each] for each in _PORTS))
        wanted = {
            "port": self._wishes.port,
            "probe-port": self._wishes.probe_port,
            "admin-port": self._wishes.admin_port,
        }
        return ports.choose(wanted, ports.taken(place.container for place in containers.places(self._spec)))

    def _is_done(self, place: Place, address: str) -> bool:
        indexes = addresses.places(place.container, self._variable)
        return bool(indexes) and all(addresses.is_swapped(place.container["env"][each], address) for each in indexes)

    def _original(self, todo: list[Place], present: Place | None, port: int) -> list[dict[str, Any]]:
        """The one original of all chosen containers, and of the sidecar that is there already."""
        if self._wishes.upstream is not None:
            found = {annotation("upstream"): addresses.literal(self._wishes.upstream)}
        else:
            found = {place.name: self._original_of(place, self._variable) for place in todo}
            if present:
                found[CONTAINER] = self._original_of(present, UPSTREAM_VARIABLE)
        (first, original), *others = found.items()
        for name, other in others:
            if other != original and name == CONTAINER:
                raise Refused(
                    "disagreement",
                    annotation("upstream"),
                    f"{self._variable} of {first} was changed after the sidecar had been added, by another webhook or "
                    "by who copied the pod; keep that from changing it, or set this to the address to use",
                )
            if other != original:
                raise Refused(
                    "disagreement",
                    annotation("upstream"),
                    f"{first} and {name} have different values of {self._variable}; set this to the one to use, or "
                    "name one of them in containers",
                )
        if addresses.names_the_sidecar(original[-1], port):
            raise Refused(
                "no-address",
                annotation("upstream"),
                f"{self._variable} names the sidecar itself ({original[-1]['value']}); set this to the real address",
            )
        return original

    @staticmethod
    def _original_of(place: Place, variable: str) -> list[dict[str, Any]]:
        indexes = addresses.places(place.container, variable)
        if not indexes:
            raise containers.no_address(place, variable)
        return addresses.original(place.container, indexes[-1])

    def _swap(self, place: Place, address: str) -> None:
        """At the same index, since `$(VAR)` sees only the entries before it; a new one goes first for that reason."""
        where = ("spec", place.group, place.index, "env")
        env = place.container.get("env")
        new = addresses.swapped({"name": self._variable}, address)
        if env is None:
            self._operations.append(Operation("add", where, [new]))
            return
        indexes = addresses.places(place.container, self._variable)
        if not indexes:
            self._operations.append(Operation("add", (*where, 0), new))
        for index in indexes:
            self._operations.append(Operation("replace", (*where, index), addresses.swapped(env[index], address)))

    def _add_metadata(self, chosen: list[Place], own: Ports, status: dict[str, Any], *, native: bool) -> None:
        status = status or {"version": __version__, "mode": "native" if native else "container", "containers": []}
        status = {**status, "containers": [place.name for place in chosen]}
        status |= dict(zip(_PORTS, (own.grpc, own.probe, own.admin), strict=True))
        if self._variable != UPSTREAM_VARIABLE:
            status["env"] = self._variable
        notes = {STATUS: json.dumps(status, separators=(",", ":"))}
        there = self._metadata.get("annotations") or {}
        if not native and DEFAULT_CONTAINER not in there:
            notes[DEFAULT_CONTAINER] = self._spec["containers"][0]["name"]
        if self._pod.get("metadata") is None:
            self._operations.append(Operation("add", ("metadata",), {}))
        for group, members in (("annotations", notes), ("labels", {INJECTED: "true"})):
            if self._metadata.get(group) is None:
                self._operations.append(Operation("add", ("metadata", group), members))
                continue
            for name, value in members.items():
                if self._metadata[group].get(name) != value:
                    self._operations.append(Operation("add", ("metadata", group, name), value))

    def _warnings(self, chosen: list[Place], *, native: bool) -> list[str]:
        found = [each.warning(self._request.namespace) for each in sidecar.dependencies(self._wishes, self._settings)]
        if not native and self._spec.get("restartPolicy") in {"Never", "OnFailure"}:
            found.append("in container mode the sidecar keeps this pod running when its own containers have ended")
        early = [
            place.name
            for place in containers.places(self._spec)
            if place not in chosen and addresses.places(place.container, self._variable)
        ]
        if early:
            found.append(f"{', '.join(early)}: {self._variable} keeps its value and does not use the sidecar")
        return [text for text in found if text]
