"""`Asked`: what requests the sidecar: the pod's annotation, a label of the same name on it, or only its namespace.

The annotation is the documented way and takes precedence. Other injectors use a label, so the label works as well, with
a warning that names the annotation. A mistyped key is a wish too, but nobody can know which one, so the pod is left as
it is and its author is told. The chart's match conditions find such keys by the same rule.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from proxy.injector.annotations import TYPES
from proxy.injector.names import INJECTED, STATUS
from proxy.injector.refusal import Refused, annotation

Asker = Literal["pod", "label", "namespace"]

INJECT = annotation("inject")
ANNOTATIONS = (*map(annotation, TYPES), STATUS)
LABELS = (INJECT, INJECTED, annotation("component"))
"""The labels under our prefix that pods may have; `component` is on the chart's own pods."""
LIKE_OURS = "^media-cache-proxy[.]io/|^[^/]*media-cache.*inject"
"""Matches keys that were probably meant to be ours, ignoring case. Valid in RE2 too, for the chart's CEL."""
_MISPLACED = "is a label of this pod; make it an annotation, where all others of that prefix are read"
_MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a mirror pod, with which the kubelet shows a static pod: changing it changes nothing that runs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pod asks for. `wish` is its text in lower case, `true` or `false` if valid, empty if the pod has none."""

    by: Asker
    wish: str
    annotations: dict[str, Any]
    static: bool = False
    mistyped: str = ""
    """A key that was probably meant to be one of ours."""
    misplaced: tuple[str, ...] = ()
    """Labels that should be annotations."""

    @property
    def explicit(self) -> bool:
        """Whether the pod must not start without the sidecar: it is denied if it cannot have it."""
        return self.by == "pod" and self.wish == "true" and not self.static

    def refuse_static(self) -> None:
        """Raises Refused for a mirror pod."""
        if self.static:
            raise Refused("static-pod", INJECT, "this shows a static pod, which the kubelet runs from a file")

    def refuse_mistyped(self) -> None:
        """Raises Refused for a wish under a mistyped key, or one that is a label but should be an annotation."""
        if self.mistyped and self.mistyped not in self.misplaced:
            raise Refused("unknown-annotation", self.mistyped, f"is unknown; did you mean the annotation {INJECT}?")
        if self.mistyped:
            raise Refused("unknown-annotation", self.mistyped, _MISPLACED)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings to give whatever is decided."""
        return tuple(f"{key}: {_MISPLACED}" for key in self.misplaced if key != self.mistyped)


def asked(pod: Any) -> Asked:
    """What a pod asks for. Never raises, since the pod's shape is not checked yet."""
    annotations, labels = members(pod, "annotations"), members(pod, "labels")
    static = _MIRROR in annotations
    misplaced = tuple(key for key in labels if key in ANNOTATIONS)
    if INJECT in annotations:
        return Asked("pod", _word(annotations[INJECT]), annotations, static, misplaced=misplaced)
    if INJECT in labels:
        # The label is treated like the annotation, so that it is checked and refused in the same way.
        noted = {**annotations, INJECT: labels[INJECT]}
        return Asked("label", _word(labels[INJECT]), noted, static, misplaced=misplaced)
    key = mistyped(annotations, ANNOTATIONS) or mistyped(labels, LABELS)
    return Asked("pod" if key else "namespace", "", annotations, static, key, misplaced)


def mistyped(keys: Iterable[str], known: Collection[str]) -> str:
    """The first key that was probably meant to be one of ours but is not in `known`; empty if there is none."""
    return next((key for key in keys if key not in known and re.search(LIKE_OURS, key, re.IGNORECASE)), "")


def _word(text: Any) -> str:
    return str(text).strip().lower()


def members(thing: Any, group: str) -> dict[str, Any]:
    """The labels or annotations (`group`) of an object, whatever its shape; empty if it has none."""
    metadata = thing.get("metadata") if isinstance(thing, dict) else None
    found = metadata.get(group) if isinstance(metadata, dict) else None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}
