"""Kubernetes Events that say why a pod has no sidecar, or may not use it. People find them with `kubectl describe` of
the pod's controller.

The warnings of an admission reach only a person who creates a pod by hand; controllers discard them. At most one Event
an hour is written for each owner and reason, after the answer; an Event that cannot be written is dropped.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from proxy.injector.cluster import ClusterError

_logger = logging.getLogger(__name__)

_AGAIN_AFTER = 3600.0
_MOST_KNOWN = 4096
_MOST_WAITING = 256
_LONGEST_NOTE = 1000

Record = Callable[[dict[str, Any]], Awaitable[None]]


class Events:
    """Queues and writes Events. `tell` never waits; `run` writes what is queued, until cancelled."""

    def __init__(self, record: Record, now: Callable[[], float] = time.monotonic) -> None:
        self._record, self._now = record, now
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
        self._failed = False

    def tell(
        self, namespace: str, pod: dict[str, Any], reason: str, note: str, event: str = "SidecarNotInjected"
    ) -> None:
        """Queues an Event with the message `note`. `event` is its `reason` field; `reason` only limits repetitions.

        Does nothing for a pod without a controller: whoever created it got the admission's warning.
        """
        owner = _owner(pod)
        key = (str(owner.get("uid")), reason)
        if not owner or self._waiting.full() or self._now() - self._told.get(key, -_AGAIN_AFTER) < _AGAIN_AFTER:
            return
        self._told[key] = self._now()
        self._told.move_to_end(key)
        if len(self._told) > _MOST_KNOWN:
            self._told.popitem(last=False)
        self._waiting.put_nowait(_event(namespace, owner, event, note))

    async def run(self) -> None:
        """Writes queued Events one after the other, until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._record(event)
            except ClusterError as error:
                if not self._failed:
                    _logger.warning("an Event could not be written; this log has it", extra={"error": str(error)})
                self._failed = True
            else:
                self._failed = False


def _owner(pod: dict[str, Any]) -> dict[str, Any]:
    """The owner reference of the pod's controller; empty if there is none."""
    found = (pod.get("metadata") or {}).get("ownerReferences") or ()
    return next((each for each in found if each.get("controller")), {})


def _event(namespace: str, owner: dict[str, Any], reason: str, note: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {key: owner.get(key) for key in ("apiVersion", "kind", "name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{owner.get('name')}.{uuid4().hex[:16]}", "namespace": namespace},
        "involvedObject": {**about, "namespace": namespace},
        "type": "Warning",
        "reason": reason,
        "message": note[:_LONGEST_NOTE],
        "source": {"component": "media-cache-proxy"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
