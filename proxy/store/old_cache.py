"""`OldCache`: deletes the entries of a gateway's own cache for a tag, once the tag's invalidation is confirmed.

It serves a migration in which that cache is still in front of the proxy (docs/migration.md): the cache's own subscriber
ignores today's events, so its answers would stay outdated until they expire. Off by default.

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
"""Seconds; longer than a fetch of the gateway takes."""
_MOST_WAITING = 10_000
"""Maximum number of second deletions that are not due yet; keys beyond it are deleted only once."""


class Journal(Protocol):
    """Receives confirmed invalidations; see `InvalidationLog`."""

    def invalidated(self, tag: str, source: str, about: Description) -> None: ...
    def flushed(self, reason: str, models: int, services: Collection[str] = ()) -> None: ...


KeysOf = Callable[[str, Description], tuple[bytes, ...]]
"""Returns the keys of that cache for the answers that a tag invalidates; empty if it holds none."""


class OldCache:
    """A journal that passes everything on to another journal. Created inside the event loop, ended by `close`."""

    def __init__(self, journal: Journal, node_for: Callable[[bytes], Node | None], keys_of: KeysOf) -> None:
        self._journal = journal
        self._keys_of = keys_of
        self._node_for = node_for
        self._again: set[asyncio.TimerHandle] = set()
        self._later = asyncio.get_running_loop().call_later

    def invalidated(self, tag: str, source: str, about: Description) -> None:
        """Deletes the tag's keys at once, and again after 2 s."""
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
        """Deletes nothing, because the keys of that cache are not known; its TTL bounds what stays outdated."""
        self._journal.flushed(reason, models, services)

    def close(self) -> None:
        """Drops second deletions that are not due yet."""
        for handle in self._again:
            handle.cancel()
        self._again.clear()

    def _delete(self, keys: tuple[bytes, ...]) -> None:
        for key in keys:  # one by one, because a Cluster has them on different nodes
            send(self._node_for(key), b"UNLINK", key)
