"""Events on pods' controllers: one an hour for each owner and reason, none for a pod that a person created."""

import asyncio
from typing import Any

from proxy.injector.cluster import ClusterError
from proxy.injector.events import Events
from tests.support.servers.waiting import until

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gateway-1", "uid": "u1", "controller": True}
POD: dict[str, Any] = {"metadata": {"ownerReferences": [OWNER]}}


async def test_the_owner_is_told_once_an_hour() -> None:
    now, written = 0.0, []

    async def record(event: dict[str, Any]) -> None:
        written.append(event)

    events = Events(record, lambda: now)
    running = asyncio.create_task(events.run())
    for reason in ("no-address", "no-address", "resources"):
        events.tell("shop", POD, reason, f"not injected: {reason}")
    events.tell("shop", {"metadata": {}}, "no-address", "x")
    await until(lambda: len(written) == 2, "two events")
    assert written[0]["involvedObject"] == {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gateway-1", "uid": "u1", "namespace": "shop",
    }  # fmt: skip
    assert (written[0]["reason"], written[0]["message"]) == ("SidecarNotInjected", "not injected: no-address")
    now = 3601.0
    events.tell("shop", POD, "no-address", "again")
    await until(lambda: len(written) == 3, "a third event")
    events.tell("shop", POD, "unseen", "worker: …", "SidecarNotUsed")
    await until(lambda: len(written) == 4, "one of another kind")
    assert written[3]["reason"] == "SidecarNotUsed"
    running.cancel()


async def test_what_cannot_be_written_is_forgotten() -> None:
    tried = []

    async def record(event: dict[str, Any]) -> None:
        tried.append(event)
        raise ClusterError("403 forbidden")

    events = Events(record)
    running = asyncio.create_task(events.run())
    for number in range(3):
        events.tell("shop", POD, f"reason-{number}", "x")
    await until(lambda: len(tried) == 3, "all of them")
    assert not running.done()
    running.cancel()


async def test_a_flood_does_not_pile_up() -> None:
    async def record(event: dict[str, Any]) -> None:
        raise AssertionError(event)

    events = Events(record)
    for number in range(10_000):
        events.tell("shop", POD, str(number), "x")
    assert events._waiting.qsize() == 256
