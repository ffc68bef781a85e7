"""What cannot be seen of the app's addresses at admission: told, since a part of the app may go without the sidecar."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from proxy.injector import addresses
from proxy.injector.containers import Place


def hidden(others: Iterable[Place], variable: str) -> str:
    """The warning for containers that were not given the sidecar's address and may have another one of their own."""
    names = ", ".join(place.name for place in others if _may_have(place, variable))
    if not names:
        return ""
    return (
        f"{names}: {variable} may come from envFrom, which cannot be seen here, and then does not use the sidecar; put "
        "it into env"
    )


def _may_have(place: Place, variable: str) -> bool:
    """An entry of `env` goes before what `envFrom` brings."""
    return bool(place.container.get("envFrom")) and not addresses.places(place.container, variable)


def may_be_missing(original: Collection[Mapping[str, Any]]) -> str:
    """The warning for an original that Kubernetes leaves out where its source is missing: the app has no other then."""
    for entry in original:
        for kind, source in (entry.get("valueFrom") or {}).items():
            if isinstance(source, dict) and source.get("optional"):
                what = f"{'Secret' if kind == 'secretKeyRef' else 'ConfigMap'} {source.get('name')}"
                return (
                    f"{entry['name']} comes from {what}, key {source.get('key')}, which is optional; while that is "
                    "missing calls fail"
                )
    return ""
