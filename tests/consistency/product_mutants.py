"""Versions of the protocol that each lack one part that concerns policies; `mutants` has the others."""

from typing import Any

import pytest

from proxy.amqp.deliveries import Deliveries
from proxy.caching import invalidation_requests
from proxy.caching.vetting import Vetting
from proxy.calls import keys
from proxy.calls.keys import RequestKey
from proxy.calls.reads import Verdict
from proxy.store import dependants
from proxy.store.redis_node import Budget
from proxy.store.redis_store import RedisStore
from tests.consistency.clock import swap

Patch = pytest.MonkeyPatch


def first_tag_only(patch: Patch) -> None:
    """An event is applied only to the first of its tags."""
    apply = Deliveries._apply

    async def first(deliveries: Deliveries, tags: tuple[str, ...], *more: Any) -> None:
        await apply(deliveries, tags[:1], *more)

    patch.setattr(Deliveries, "_apply", first)


def digest_left_out(patch: Patch) -> None:
    """The identity of a stored answer does not contain the policy's digest."""
    joined = keys.length_prefixed

    def without(*parts: bytes) -> bytes:
        return joined(parts[0], *parts[2:]) if len(parts) == 4 and parts[0].startswith(b"/") else joined(*parts)

    patch.setattr(keys, "length_prefixed", without)


def entered_after_the_look(patch: Patch) -> None:
    """Dependants are registered only after the check of the mark, and so late that no invalidation finds them."""

    async def look(store: RedisStore, key: RequestKey, verdict: Verdict, began: float, budget: Budget) -> Any:
        further = [store._keys.of_dependants(tag) for tag in verdict.further_tags]
        nodes = {name: node for name in further if (node := store.topology.node_for(name)) is not None}
        marks = [await node.ask(budget, b"HGET", name, b"m") for name, node in nodes.items()]
        return "invalidated" if any(marks) else ""

    patch.setattr(RedisStore, "depend", look)


def mark_gone_too_early(patch: Patch) -> None:
    """An invalidation's mark disappears before a fetch that began before it has ended."""
    mark = b"set('m', string.format('%.0f %.0f', shut, open))"
    swap(patch, "CLOSE", lambda source: source.replace(mark, b""), dependants)


def confirmed_before_dependants(patch: Patch) -> None:
    """An invalidation counts as done before the dependants of its tag are removed."""

    async def nothing(*args: Any) -> None:
        return

    patch.setattr(invalidation_requests, "remove", nothing)


def not_vetted(patch: Patch) -> None:
    """Callers that joined a fetch get its answer, whatever its further tags are."""

    async def fine(*args: Any) -> str:
        return ""

    patch.setattr(Vetting, "refusal", fine)
