"""`decide`: what to change in a pod so that it uses the sidecar. A pure function, and the only place that decides."""

import json
from dataclasses import dataclass, replace
from typing import Any

from proxy import __version__
from proxy.injector import (
    addresses,
    annotations,
    asking,
    containers,
    hosts,
    placing,
    policies,
    ports,
    resources,
    shape,
    sidecar,
    swapping,
    unseen,
)
from proxy.injector.annotations import Wishes
from proxy.injector.asking import Asker
from proxy.injector.containers import Place
from proxy.injector.names import CONTAINER, DEFAULT_CONTAINER, INJECTED, STATUS, UPSTREAM_VARIABLE
from proxy.injector.namespace_rules import Rules
from proxy.injector.operations import Operation
from proxy.injector.ports import Ports
from proxy.injector.refusal import Refused, annotation
from proxy.injector.settings import InjectorSettings
from proxy.injector.swapping import Swap
from proxy.injector.versions import Version

NATIVE_STABLE: Version = (1, 33)
"""The version since which native sidecars are stable, so `auto` uses them."""
NATIVE_KNOWN: Version = (1, 29)
"""The version since which native sidecars are enabled by default, so a pod that asks for one gets it."""
_LONGEST_WARNING = 256
"""Characters; the API server cuts longer warnings."""
_PORTS = ("port", "probePort", "adminPort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known about a pod besides the pod itself; `kubernetes` is the API server's version."""

    namespace: str
    kubernetes: Version
    job: bool = False
    rules: Rules = Rules()
    """The namespace's rules for resources, if they are known."""
    policy: policies.Found | None = None
    """The policy from the ConfigMap that the pod names; None if it names none or it was not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to a pod. `reason` is from a small fixed set, `asked` says what requested the sidecar, and `message`
    says why a pod is not allowed.
    """

    reason: str
    asked: Asker = "namespace"
    allowed: bool = True
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""
    adds: bool = False
    """The operations add the sidecar, which is not there yet."""
    unseen: tuple[str, ...] = ()
    """The warnings about calls that may not use the sidecar although nobody asked for that."""


def decide(pod: Any, request: Request, settings: InjectorSettings) -> Decision:
    """The decision about a pod. Never raises because of the pod: one that asks for a sidecar itself but cannot have it
    is denied; one whose namespace or label asks gets a warning.
    """
    found = asking.asked(pod)
    if found.wish == "false":
        return Decision(reason="opted-out", asked=found.by, warnings=tuple(map(_cut, found.warnings)))
    try:
        found.refuse_static()
        shape.check(pod)
        wishes = annotations.parse(found.annotations)
        found.refuse_mistyped()
        decision = _Injection(pod, wishes, request, settings, counted=not found.explicit).decision()
    except Refused as refusal:
        if found.explicit:
            return Decision(reason=refusal.reason, asked="pod", allowed=False, message=refusal.message)
        said = (f"not injected: {refusal.message}", *found.warnings)
        return Decision(reason=refusal.reason, asked=found.by, warnings=tuple(map(_cut, said)))
    return replace(decision, asked=found.by, warnings=(*decision.warnings, *map(_cut, found.warnings)))


def is_injected(pod: Any) -> bool:
    """Whether a pod's annotation says that it has the sidecar."""
    return STATUS in asking.asked(pod).annotations


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WARNING else f"{text[: _LONGEST_WARNING - 1]}…"


class _Injection:
    """Computes the operations for one pod, from what is there and what is wanted."""

    def __init__(
        self, pod: dict[str, Any], wishes: Wishes, request: Request, settings: InjectorSettings, *, counted: bool
    ) -> None:
        self._counted = counted
        self._wishes, self._request, self._settings = wishes, request, settings
        self._pod = pod
        self._metadata: dict[str, Any] = pod.get("metadata") or {}
        self._spec: dict[str, Any] = pod["spec"]
        self._variable = wishes.env or settings.env
        self._others: tuple[str, ...] = ()
        self._operations: list[Operation] = []
        self._unseen: list[str] = []

    def decision(self) -> Decision:
        """The decision; raises Refused if the pod cannot have the sidecar."""
        hosts.refuse(self._spec)
        present, status = self._present()
        if present:
            # Another installation's settings, or annotations changed since then, may name another variable.
            self._variable = str(status.get("env") or UPSTREAM_VARIABLE)
            self._others = tuple(map(str, status.get("others") or ()))
        elif self._wishes.policy:
            policy = policies.listed(self._wishes.policy, self._request.policy)
            self._variable = self._wishes.env or policy.media or self._settings.env
            self._others = policy.others
        native = present.group == "initContainers" if present else self._wants_native()
        chosen = containers.chosen(self._spec, self._wishes, (self._variable, *self._others), native=native)
        own = self._ports(status)
        originals = self._swap(chosen, present, own.grpc)
        if present and not originals:
            return Decision(reason="already-injected")
        if not present:
            built = sidecar.build(
                swapping.joined(originals),
                own,
                self._wishes,
                self._settings,
                native=native,
                resources=self._resources(native=native),
                as_root=hosts.runs_as_root(self._spec),
            )
            self._operations.append(placing.sidecar(self._spec, built, native=native))
            self._operations += placing.pull_secrets(self._spec, self._settings.image_pull_secrets)
            self._operations += placing.volumes(self._spec, self._wishes.policy)
        self._add_metadata(chosen, own, status, native=native)
        operations = tuple(self._operations)
        if present:
            return Decision(reason="injected", operations=operations)
        unknown = tuple(_cut(text) for text in self._unseen if text)
        warnings = (*map(_cut, self._warnings(chosen, native=native)), *unknown)
        return Decision(reason="injected", operations=operations, warnings=warnings, adds=True, unseen=unknown)

    def _swap(self, chosen: list[Place], present: Place | None, port: int) -> list[list[dict[str, Any]]]:
        """Replaces each variable's address where that is not done yet; returns the originals of those replaced."""
        address = f"127.0.0.1:{port}"
        main = Swap(self._variable, UPSTREAM_VARIABLE, self._wishes.upstream)
        others = [Swap(variable, variable) for variable in self._others]
        found = []
        for swap in (main, *others):
            holders = swap.holders(chosen, self._others) if swap is main else swap.having(chosen)
            # A pod that names containers does not mean the others.
            every = chosen if self._wishes.containers else containers.places(self._spec)
            rest = [place for place in every if place not in holders and place != present]
            self._unseen.append(unseen.hidden(rest, swap.variable))
            if todo := [place for place in holders if not (present and swap.is_done(place, address))]:
                found.append(swap.original(todo, present, port))
                self._unseen.append(unseen.may_be_missing(found[-1]))
                self._operations += [each for place in todo for each in swap.operations(place, address)]
        return found

    def _resources(self, *, native: bool) -> dict[str, Any]:
        # A pod that asks for the sidecar itself may be retried until a quota has room; others must not be kept out.
        return resources.fitted(
            self._spec, self._wishes, self._settings, self._request.rules, native=native, counted=self._counted
        )

    def _present(self) -> tuple[Place, dict[str, Any]] | tuple[None, dict[str, Any]]:
        """The sidecar and the status that we left, if it is there; raises Refused if another container has its name."""
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
                f"with a sidecar in container mode, this {'Job' if self._is_job() else 'pod'} would never end; set "
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

    def _add_metadata(self, chosen: list[Place], own: Ports, status: dict[str, Any], *, native: bool) -> None:
        status = status or {"version": __version__, "mode": "native" if native else "container", "containers": []}
        status = {**status, "containers": [place.name for place in chosen]}
        status |= dict(zip(_PORTS, (own.grpc, own.probe, own.admin), strict=True))
        if self._variable != UPSTREAM_VARIABLE:
            status["env"] = self._variable
        if self._others:
            status["others"] = list(self._others)
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
        aside = [place for place in containers.places(self._spec) if place not in chosen]
        for variable in (self._variable, *self._others):
            early = ", ".join(place.name for place in aside if addresses.places(place.container, variable))
            found += [f"{early}: {variable} keeps its value and does not use the sidecar"] if early else []
        unused = [each for each in self._others if not any(addresses.places(one.container, each) for one in chosen)]
        found += [
            f"{each} of the policy is in no container; the sidecar goes to the policy's upstream" for each in unused
        ]
        return [text for text in found if text]
