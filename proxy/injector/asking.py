"""What requests the sidecar: the pod's annotation, a label of the same name on it, or only its namespace.

The annotation is the documented way and takes precedence. Other injectors use a label, so the label works as well, with
a warning that names the annotation.
"""

from dataclasses import dataclass
from typing import Any, Literal

from proxy.injector.refusal import Refused, annotation

Asker = Literal["pod", "label", "namespace"]

INJECT = annotation("inject")
_MIRROR = "kubernetes.io/config.mirror"
"""Annotation of what the kubelet shows of a static pod: what is changed in it changes nothing that runs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`wish` is `true`, `false`, or what cannot be understood; empty where the pod says nothing."""

    by: Asker
    wish: str
    annotations: dict[str, Any]
    static: bool = False

    @property
    def explicit(self) -> bool:
        """A pod that must not start without: it is denied when it cannot have the sidecar."""
        return self.by == "pod" and self.wish == "true" and not self.static

    def refuse_static(self) -> None:
        """Refused for what only shows a pod."""
        if self.static:
            raise Refused("static-pod", INJECT, "this shows a static pod, which the kubelet runs from a file")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say whatever is decided."""
        if self.by != "label":
            return ()
        return (f"{INJECT}: is a label of this pod; make it an annotation, where all others of that prefix are read",)


def asked(pod: Any) -> Asked:
    """Never raises: the pod's shape is not checked yet."""
    annotations, labels = _members(pod, "annotations"), _members(pod, "labels")
    static = _MIRROR in annotations
    if INJECT in annotations:
        return Asked("pod", _word(annotations[INJECT]), annotations, static)
    if INJECT in labels:
        # Taken as if it were the annotation, so that it is checked and refused as one.
        return Asked("label", _word(labels[INJECT]), {**annotations, INJECT: labels[INJECT]}, static)
    return Asked("namespace", "", annotations, static)


def _word(text: Any) -> str:
    return str(text).strip().lower()


def _members(pod: Any, group: str) -> dict[str, Any]:
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    found = metadata.get(group) if isinstance(metadata, dict) else None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}
