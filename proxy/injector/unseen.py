"""Warnings about addresses that are not visible at admission, so that part of the app may not use the sidecar."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from proxy.injector import addresses
from proxy.injector.containers import Place


def hidden(others: Iterable[Place], variable: str) -> str:
    """The warning for containers without the sidecar's address that may have another one; empty if there are none."""
    names = ", ".join(place.name for place in others if _may_have(place, variable))
    if not names:
        return ""
    return (
        f"{names}: {variable} may come from envFrom, which cannot be seen here, and then does not use the sidecar; put "
        "it into env"
    )


def _may_have(place: Place, variable: str) -> bool:
    """Whether the variable may come from `envFrom`; an entry in `env` would take precedence."""
    return bool(place.container.get("envFrom")) and not addresses.places(place.container, variable)


def may_be_missing(original: Collection[Mapping[str, Any]]) -> str:
    """The warning for an original from an optional source, without which calls fail; empty if it is not optional."""
    for entry in original:
        for kind, source in (entry.get("valueFrom") or {}).items():
            if isinstance(source, dict) and source.get("optional"):
                what = f"{'Secret' if kind == 'secretKeyRef' else 'ConfigMap'} {source.get('name')}"
                return (
                    f"{entry['name']} comes from {what}, key {source.get('key')}, which is optional; while that is "
                    "missing, calls fail"
                )
    return ""
