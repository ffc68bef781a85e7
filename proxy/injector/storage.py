"""The sidecar's local storage (`ephemeral-storage`): it names none, unless its namespace's defaults would not fit."""

from decimal import Decimal
from typing import Any

from proxy.injector import counting
from proxy.injector.namespace_rules import STORAGE, Rules

FOR_LOGS = Decimal(128 << 20)
"""Bytes for the sidecar's log, the only thing that it writes."""


class TooMuch(Exception):  # noqa: N818 -- a verdict on the namespace, not a fault of the program
    """The sidecar does not fit; the message says why."""


def fitted(spec: dict[str, Any], rules: Rules, *, native: bool, counted: bool) -> Decimal | None:
    """The sidecar's request and limit in bytes, which are equal; None leaves both to the namespace. Raises TooMuch.

    With `counted`, quotas are respected too.
    """
    bounds = rules.storage
    own = max(FOR_LOGS, bounds.low or Decimal(0))
    own = own if bounds.high is None else min(own, bounds.high)
    if bounds.ratio is None:  # a ratio refuses a container that has neither request nor limit
        limit = bounds.default
        request = limit if bounds.default_request is None else bounds.default_request
        if not _trouble(spec, rules, request, limit, native=native, counted=counted):
            return None
    if trouble := _trouble(spec, rules, own, own, native=native, counted=counted):
        raise TooMuch(trouble)
    return own


def _trouble(
    spec: dict[str, Any], rules: Rules, request: Decimal | None, limit: Decimal | None, *, native: bool, counted: bool
) -> str:
    """Why the pod would be refused with the sidecar but not without it; empty if it would not."""
    for group, ours in (("requests", request), ("limits", limit)):
        alone = counting.total(spec, group, STORAGE, None, native=native)
        both = counting.total(spec, group, STORAGE, ours, native=native)
        high = rules.storage_of_pod.high
        if high is not None and alone <= high < both:
            return f"the namespace's LimitRange does not allow as much {STORAGE} for a whole pod"
        for quota in rules.quotas if counted else ():
            left = quota.left.get(f"{group}.{STORAGE}", quota.left.get(STORAGE) if group == "requests" else None)
            if left is not None and alone <= left < both:
                return f"the ResourceQuota {quota.name} has too little {group}.{STORAGE} left"
    return ""
