"""Versions of the protocol that each lack one part, which the checker must detect. They are patched in memory only."""

import asyncio
import time
from typing import Any

import pytest

from proxy.amqp.deliveries import Deliveries, InHand
from proxy.amqp.duty import Duty
from proxy.amqp.expected_events import ExpectedEvents
from proxy.amqp.silence import Silence
from proxy.caching import invalidation_requests
from proxy.caching.confirmed import Confirmed
from proxy.caching.flight import Flights
from proxy.calls import entry
from proxy.calls.keys import Keys
from proxy.calls.reads import Verdict
from proxy.policy import compiled
from proxy.store.redis_health import Health
from proxy.store.redis_mastership import Mastership
from proxy.store.redis_node import Node
from proxy.store.redis_pings import Pings
from proxy.store.replication import Following
from tests.consistency.clock import swap

Patch = pytest.MonkeyPatch


def plain_del(patch: Patch) -> None:
    """No lease: an invalidation deletes the key, and every fetch is stored."""
    refusals = (
        b"if not lease then return 0 end\n",
        b"if run ~= ARGV[2] or token ~= ARGV[3] then return 0 end\n",
        b"local run, token, granted = string.match(lease, '^(%S+) (%S+) (%d+) %d+$')\n",
    )
    now = b"local run, granted = ARGV[2], string.format('%.0f', redis.call('TIME')[1] * 1000)\n"

    def fill(source: bytes) -> bytes:
        for refusal in refusals:
            assert refusal in source
            source = source.replace(refusal, b"")
        return now + source

    swap(patch, "_FILL", fill)
    swap(patch, "_INVALIDATE", lambda _: b"return redis.call('DEL', unpack(KEYS))")


def joined_without_token(patch: Patch) -> None:
    """A read joins any fetch of its key that is in progress in its process."""

    def find(flights: "Flights[Any]", token: tuple[bytes, bytes, bytes]) -> Any:
        return next((flight for known, flight in flights._by_token.items() if known[:2] == token[:2]), None)

    patch.setattr(Flights, "find", find)


def acknowledged_at_once(patch: Patch) -> None:
    """A message is acknowledged while Redis is still being asked."""
    apply = Deliveries._apply

    async def begin(deliveries: Deliveries, *args: Any) -> None:
        task = asyncio.create_task(apply(deliveries, *args))
        deliveries._tasks[task] = InHand(time.monotonic(), 0)
        task.add_done_callback(deliveries._done)

    patch.setattr(Deliveries, "_apply", begin)


def no_write_intent(patch: Patch) -> None:
    """An own write sets no intent; it only invalidates, before and after."""
    ask = invalidation_requests.ask

    async def without(store: Any, tag: str, timeout: float, window_ms: int, intent: Any) -> Any:
        return await ask(store, tag, timeout, window_ms, None)

    patch.setattr(invalidation_requests, "ask", without)


def run_id_ignored(patch: Patch) -> None:
    """Entries of another Redis process are valid."""
    decode = entry.decode

    def any_run(value: object, *, run_id: bytes, identity: bytes) -> entry.Entry | None:
        if isinstance(value, bytes):
            run_id = value.split(b" ", 2)[1]
        return decode(value, run_id=run_id, identity=identity)

    patch.setattr(entry, "decode", any_run)


def no_outage_rule(patch: Patch) -> None:
    """Entries from before an outage are valid at once after it."""
    patch.setattr(Node, "min_born_ms", lambda _: 0)


def no_ttl(patch: Patch) -> None:
    """Entries live until they are invalidated."""
    swap(patch, "_FILL", lambda source: source.replace(b"local fresh = granted + ARGV[4]", b"local fresh = 1e14"))


def failures_stored(patch: Patch) -> None:
    """`success = false` is stored like any other answer."""
    patch.setattr(compiled.Read, "storable", lambda read, request, response, *more: Verdict())


def callers_alike(patch: Patch) -> None:
    """The caller's metadata is not part of the key."""
    patch.setattr(Keys, "_vary_digest", lambda keys, method, metadata: b"")


# Protections against partial faults.


def events_kept_without_redis(patch: Patch) -> None:
    """A process that cannot apply events still takes them."""
    patch.setattr(Duty, "looked", lambda duty, now, oldest, *, crowded=False: False)


def able_to_answer_is_able(patch: Patch) -> None:
    """A server that answers is trusted, whatever it refuses."""

    async def none(pings: Pings) -> str:
        return ""

    patch.setattr(Pings, "_refusal", none)
    patch.setattr(Health, "refused", lambda health, reason: None)


def confirmed_is_confirmed(patch: Patch) -> None:
    """What one server has confirmed is not repeated on the next."""
    patch.setattr(Confirmed, "since", lambda confirmed, sure_at: [])


def a_lost_replica_means_nothing(patch: Patch) -> None:
    """The confirmation of a master that has just lost its replicas counts."""
    for name in ("doubt", "unproven"):
        patch.setattr(Following, name, property(lambda following: ""))


def an_address_is_looked_up_once(patch: Patch) -> None:
    """A connection that nobody closes is kept, even if its address leads elsewhere now."""

    async def nothing(mastership: Mastership) -> None:
        return

    patch.setattr(Mastership, "_look_anew", nothing)


def silence_is_no_symptom(patch: Patch) -> None:
    """Writes without events have no consequence."""
    patch.setattr(Silence, "wrote", lambda silence, *told: None)


def any_event_speaks_for_all(patch: Patch) -> None:
    """It is not checked which writes had an event of their own."""

    async def none(*_: object) -> list[bool]:
        return []

    patch.setattr(ExpectedEvents, "judged", none)
