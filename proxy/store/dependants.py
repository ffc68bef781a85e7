"""`Dependants`: which answers depend on a tag that is not their own, kept in a second hash per tag.

An answer is stored under its own tag P, and only the answer reveals that it depends on D too. Two keys never change
atomically, so the order of steps guarantees consistency:
    fill        registers P with each D, and reads in the same script when D was last invalidated; then P's own fill
    invalidate  D, with a mark that stays as long as a fetch may take; then every registered dependant; only then is the
                invalidation done
Whichever comes first is seen by the other. Two ages are compared: the mark's, by its own server's clock, and the
fetch's, by this process' clock from before the fetch until the server's reply, so that no delay makes it too short.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from proxy.calls.keys import Keys, RequestKey
from proxy.errors import RedisUnavailableError, UnexpectedReplyError
from proxy.store.model_hash import LIMITS, LONGEST_INTENT_MS
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script, send_script
from proxy.store.redis_topology import Topology
from proxy.store.script_runs import run_script

DEPEND, CLOSE, FORGET = map(Script, ("depend", "close", "forget"))
SCRIPTS = DEPEND, CLOSE, FORGET
MOST_DEPENDANTS = 10_000
BATCH = 200
"""Maximum number of tags that one script invalidates, if one server holds them all."""
LONGEST_FETCH = 10.0
"""Seconds. An answer with further tags that took longer is not stored. A lease lives as long."""
MARK_MS = b"%d" % ((LONGEST_FETCH + 5.0) * 1000)
"""Milliseconds for which a mark is kept once its tag is open again: the longest stored fetch, and a margin for
clocks."""
_MARGIN_MS = 100.0
_KEPT_LONGER_MS = 5000
"""By how much a dependant is kept longer than its answer: they may be on servers whose clocks differ."""

Overtaken = Literal["", "invalidated", "crowded", "late", "another master"]
"""Why an answer must not be stored; empty if it may be."""


Remove = Callable[[tuple[bytes, ...], float], Coroutine[Any, Any, None]]
"""Invalidates tags, given their hashes (all in one slot) and a timeout in seconds."""


@dataclass(frozen=True, slots=True)
class Left:
    """The dependants of an invalidated tag, which are still to be invalidated."""

    tags: tuple[str, ...]
    at_ms: int
    """When the server returned them, by its own clock."""


class Dependants:
    """The dependants of all tags of one namespace."""

    def __init__(self, topology: Topology, keys: Keys, remove: Remove) -> None:
        self._topology = topology
        self._keys = keys
        self._remove = remove

    async def enter(
        self, key: RequestKey, further: Sequence[str], keep_ms: int, began: float, budget: Budget
    ) -> Overtaken:
        """Before a fill: registers the key's tag with the `further` tags, for `keep_ms`. Returns why the answer must
        not be stored; empty if it may. Its fetch began at `began`, by `time.monotonic`. Raises RedisUnavailableError.
        """
        groups = self._groups([(tag, self._keys.of_dependants(tag)) for tag in dict.fromkeys(further)])
        arguments = (
            key.tag.encode(),
            b"%d" % (keep_ms + _KEPT_LONGER_MS),
            b"%d" % MOST_DEPENDANTS,
            b"%d" % LONGEST_INTENT_MS,
        )
        replies = await all_of(
            [
                run_script(self._topology, DEPEND, keys, lambda _: arguments, Budget(budget.left))
                for keys in (tuple(name for _, name in names) for _, names in groups)
            ]
        )
        passed_ms = (time.monotonic() - began) * 1000
        if passed_ms > LONGEST_FETCH * 1000:
            return "late"
        if any(node is None or node.master_since > began for node, _ in groups):
            return "another master"
        return _judged(replies, passed_ms)

    async def close(self, tag: str, told: tuple[bytes, ...], budget: Budget) -> Left | None:
        """Runs beside a tag's own invalidation. Returns the dependants, which are left to remove; None means that there
        are none. From now on, no answer that depends on the tag is stored if its fetch began before. `told` holds
        window, intent, its life and the intent to clear. Raises RedisUnavailableError.
        """
        arguments = *told, MARK_MS, *LIMITS
        keys = (self._keys.of_dependants(tag),)
        reply = await run_script(self._topology, CLOSE, keys, lambda _: arguments, budget, durable=True)
        if not isinstance(reply, list) or len(reply) < 2:
            raise UnexpectedReplyError
        now_ms, marked, *names = reply
        if not marked:
            raise RedisUnavailableError(
                "Redis is full, so answers that depend on an invalidated tag could still be stored"
            )
        tags = tuple(name.decode(errors="replace") for name in names)
        return Left(tags, now_ms) if tags else None

    async def remove(self, tags: Sequence[str], timeout: float) -> None:
        """Invalidates tags because answers under them depend on another tag. Raises RedisUnavailableError."""
        groups = self._groups([(tag, self._keys.of_tag(tag)) for tag in tags])
        await all_of([self._remove(tuple(name for _, name in names), timeout) for _, names in groups])

    def forget(self, tag: str, left: Left, tags: Sequence[str]) -> None:
        """Forgets dependants that have been invalidated, except those that were registered again since."""
        key = self._keys.of_dependants(tag)
        node = self._topology.node_for(key)
        if node is not None:
            send_script(node, FORGET, key, b"%d" % left.at_ms, *(each.encode() for each in tags))

    def _groups(self, names: Sequence[tuple[str, bytes]]) -> list[tuple[Node | None, list[tuple[str, bytes]]]]:
        """The names, grouped by what one script may process; each group with its node."""
        nodes = self._topology.nodes()
        if len(nodes) == 1 and not nodes[0].one_slot:
            return [(nodes[0], list(names[at : at + BATCH])) for at in range(0, len(names), BATCH)]
        return [(self._topology.node_for(name), [(tag, name)]) for tag, name in names]


async def all_of(asked: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The results of all. If any fail, the first error is raised once all have ended."""
    replies = await asyncio.gather(*asked, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return list(replies)


def _judged(replies: Sequence[object], passed_ms: float) -> Overtaken:
    ages = [age for reply in replies if isinstance(reply, list) for age in reply]
    if not all(isinstance(reply, list) for reply in replies):
        raise UnexpectedReplyError
    if any(isinstance(age, int) and age <= passed_ms + _MARGIN_MS for age in ages):
        return "invalidated"
    return "crowded" if b"full" in ages else ""
