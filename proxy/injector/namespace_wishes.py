"""The warnings for a namespace whose labels or annotations ask for the sidecar in a way that has no effect."""

from typing import Any

from proxy.injector import asking
from proxy.injector.asking import INJECT

YES = (
    *("enabled", "Enabled", "ENABLED", "enable", "true", "True", "TRUE"),
    *("yes", "Yes", "YES", "on", "On", "ON", "1"),
)
"""The label's values that the webhook configuration selects; a selector compares them exactly."""
NO = ("disabled", "false", "no", "off", "0")
"""The label's values that mean no, in lower case."""


def warnings(namespace: Any) -> tuple[str, ...]:
    """The warnings, one line each; none for a namespace that asks for nothing or asks in the right way."""
    labels, annotations = asking.members(namespace, "labels"), asking.members(namespace, "annotations")
    found = []
    word = str(labels.get(INJECT, NO[0]))
    if word not in YES and word.lower() not in NO:
        found.append(f"{INJECT}: {word!r} is not understood; accepted: enabled, disabled")
    if INJECT in annotations:
        found.append(f"{INJECT}: is an annotation of this namespace; make it a label: {INJECT}=enabled")
    keys = [key for group in (labels, annotations) if (key := asking.mistyped(group, (INJECT,)))]
    found += [f"{key}: is not read on a namespace; did you mean the label {INJECT}=enabled?" for key in keys]
    return tuple(found)
