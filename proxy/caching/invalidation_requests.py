"""The requests to Redis that invalidate one tag: the tag's own script, then whatever depends on the tag."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from proxy.caching.confirmed import Confirmed
from proxy.caching.held import Held, Intent
from proxy.errors import RedisUnavailableError
from proxy.store.dependants import BATCH, Left

_LEAST_TIMEOUT = 0.001  # seconds; less is not enough for any request to Redis
_NOTED_MS = 30_000
"""How much longer than a write's intent Redis keeps the note that the write's event is due."""


class Store(Protocol):
    """What these requests need from Redis; see `RedisStore`."""

    async def invalidate(
        self,
        tag: str,
        *,
        timeout: float,
        window_ms: int = 0,
        intent: bytes = b"",
        intent_ms: int = 0,
        clear: bytes = b"",
        due_ms: int = 0,
    ) -> Left | None: ...
    async def remove(self, tags: Sequence[str], timeout: float) -> None: ...
    def forget(self, tag: str, left: Left, tags: Sequence[str]) -> None: ...


async def ask(store: Store, tag: str, timeout: float, window_ms: int, intent: Intent | None) -> Left | None:
    """Runs the tag's own script, which sets or clears an intent, within `timeout` seconds.

    Returns what still has to be removed, if anything. Raises RedisUnavailableError.
    """
    if timeout < _LEAST_TIMEOUT:
        raise RedisUnavailableError("no time is left for Redis in this call")
    told = partial(store.invalidate, tag, timeout=timeout, window_ms=window_ms)
    left_ms = 0 if intent is None else int((intent.until - time.monotonic()) * 1000)
    if intent is not None and left_ms > 0:
        return await told(intent=intent.id, intent_ms=left_ms, due_ms=left_ms + _NOTED_MS if intent.announced else 0)
    return await told(clear=b"" if intent is None else intent.id)


async def remove(store: Store, tag: str, left: Left, timeout: float, held: Held, confirmed: Confirmed) -> None:
    """Removes what depends on a tag, one level deep, within `timeout` seconds.

    Tags that Redis does not take are held, and RedisUnavailableError is raised, so that the tag itself is not confirmed
    before them.
    """
    deadline = time.monotonic() + timeout
    for at in range(0, len(left.tags), BATCH):
        some = left.tags[at : at + BATCH]
        try:
            await store.remove(some, max(0.0, deadline - time.monotonic()))
        except RedisUnavailableError:
            for each in left.tags[at:]:
                held.hold(each)
            raise
        for each in some:
            confirmed.invalidated(each)
        store.forget(tag, left, some)
