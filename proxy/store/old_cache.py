"""`OldCache`: deletes the entries of a gateway's own cache for a tag, once the tag's invalidation is confirmed.

It is for the time in which that cache is still in front of the proxy (docs/migration.md): its own subscriber ignores
today's events, so its answers would stay outdated until they expire. Off by default.

Nothing waits for it or depends on it: a deletion that Redis refuses is lost, and the old cache's TTL remains the bound.
A fetch in progress may still store what it has read, so each key is deleted twice.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from proxy.calls.tags import Description
from proxy.store.redis_node import Node
from proxy.store.redis_scripts import send

_AGAIN_AFTER = 2.0
"""Seconds, longer than a fetch of the gateway's takes."""
_MOST_WAITING = 10_000
"""Second deletions that are not due yet; what comes on top is deleted once."""


class Journal(Protocol):
    """Who is told of confirmed invalidations; see `InvalidationLog`."""

    def invalidated(self, tag: str, source: str, about: Description) -> None: ...
    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None: ...


KeysOf = Callable[[str, Description], tuple[bytes, ...]]
"""What that cache calls the answers that a tag invalidates; none for what it does not hold."""


class OldCache:
    """A journal in front of another one. Made inside the event loop; `close` it."""

    def __init__(self, journal: Journal, node_for: Callable[[bytes], Node | None], keys_of: KeysOf) -> None:
        self._journal = journal
        self._keys_of = keys_of
        self._node_for = node_for
        self._again: set[asyncio.TimerHandle] = set()
        self._later = asyncio.get_running_loop().call_later

    def invalidated(self, tag: str, source: str, about: Description) -> None:
        """Deletes at once, and once more a little later."""
        self._journal.invalidated(tag, source, about)
        keys = self._keys_of(tag, about)
        self._delete(keys)
        if keys and len(self._again) < _MOST_WAITING:
            handle: asyncio.TimerHandle

            def again() -> None:
                self._again.discard(handle)
                self._delete(keys)

            handle = self._later(_AGAIN_AFTER, again)
            self._again.add(handle)

    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None:
        """Which keys that cache has is not known; its time to live bounds what was missed."""
        self._journal.flushed(reason, models, services)

    def close(self) -> None:
        """Second deletions that are not due yet are given up."""
        for handle in self._again:
            handle.cancel()
        self._again.clear()

    def _delete(self, keys: tuple[bytes, ...]) -> None:
        for key in keys:  # one by one: on a Cluster each lies somewhere else
            send(self._node_for(key), b"UNLINK", key)
