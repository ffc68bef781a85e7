"""`Vetting`: checks a fetched answer with further tags before it is stored or shared, and notes what depends on what.

A token only tells a reader that its own tag was not invalidated; it says nothing about further tags, which only the
answer names. So such an answer is stored, and shared with reads that began after its fetch, only once Redis has said
that none of its further tags was invalidated since then. A read that must not share it fetches for itself.
"""

import logging
from typing import Protocol

from proxy.calls.keys import RequestKey
from proxy.calls.reads import Verdict
from proxy.errors import RedisUnavailableError
from proxy.store.dependants import MOST_DEPENDANTS, Overtaken
from proxy.store.redis_node import Budget
from proxy.telemetry.log import RateLimit

log = logging.getLogger(__name__)

_WHY: dict[Overtaken, str] = {
    "invalidated": "one of its further tags was invalidated meanwhile",
    "crowded": f"one of its further tags has {MOST_DEPENDANTS} dependants, the most accepted",
    "late": "it has further tags, and its fetch took longer than a lease lasts",
    "another master": "Redis has a new master, which may not know of invalidations of its further tags",
}
_CROWDED = "an answer is not stored: too many tags depend on each other"


class Store(Protocol):
    """What vetting needs from Redis; see `RedisStore`."""

    async def depend(self, key: RequestKey, verdict: Verdict, began: float, budget: Budget) -> Overtaken: ...


class Observer(Protocol):
    """What counts answers that are not stored."""

    def crowded(self, path: str, limit: str) -> None:
        """An answer to this method was not stored: it has too many further tags (`answer`), or one has too many
        dependants (`tag`).
        """


class Vetting:
    """Remembers which lines it has logged when."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said = RateLimit()

    def excess(self, key: RequestKey, why: str) -> None:
        """Reports an answer that has too many further tags."""
        self._too_many(key, "answer", why)

    async def refusal(self, store: Store, key: RequestKey, verdict: Verdict, began: float, budget: Budget) -> str:
        """Why an answer must be neither stored nor shared; empty if it may be. Asks Redis within the budget.

        `began` is when its fetch began, by `time.monotonic`.
        """
        if not verdict.further_tags:
            return ""
        try:
            found = await store.depend(key, verdict, began, budget)
        except RedisUnavailableError as error:
            return f"its further tags could not be stored in Redis: {error}"
        return self._too_many(key, "tag", _WHY[found]) if found == "crowded" else _WHY.get(found, "")

    def _too_many(self, key: RequestKey, limit: str, why: str) -> str:
        self._observer.crowded(key.read.path, limit)
        kept_back = self._said.admit(f"{key.read.path} {limit}")
        if kept_back is not None:
            log.warning("%s", _CROWDED, extra={"method": key.read.path[1:], "reason": why, "suppressed": kept_back})
        return why
