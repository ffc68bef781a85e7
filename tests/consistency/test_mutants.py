"""A test of the checker: without a part of the protocol it detects a violation, with all parts it detects none."""

from collections.abc import Awaitable, Callable

import pytest

from tests.consistency import mutants, schedules
from tests.consistency.world import World
from tests.support.servers.redis import RedisServer

Schedule = Callable[[World, RedisServer], Awaitable[None]]
Mutant = Callable[[pytest.MonkeyPatch], None]

CASES: list[tuple[Mutant, Schedule, str]] = [
    (mutants.plain_del, schedules.a_fill_late_for_an_event, "stale: v0"),
    (mutants.joined_without_token, schedules.a_read_beside_a_fetch_from_before_an_event, "stale: v0"),
    (mutants.acknowledged_at_once, schedules.an_event_while_redis_hangs, "stale: v0"),
    (mutants.no_write_intent, schedules.a_proxy_killed_in_a_write, "stale: v0"),
    (mutants.run_id_ignored, schedules.a_snapshot_that_comes_back, "stale: v0"),
    (mutants.no_outage_rule, schedules.a_write_answered_during_an_outage, "stale: v0"),
    (mutants.no_ttl, schedules.an_entry_that_nobody_invalidates, "old: v0"),
    (mutants.failures_stored, schedules.a_failure_that_is_over, "failed: "),
    (mutants.callers_alike, schedules.two_callers, "foreign: "),
]


@pytest.mark.parametrize("schedule", [case[1] for case in CASES], ids=lambda schedule: schedule.__name__)
async def test_with_the_whole_protocol_there_is_no_violation(own_redis: RedisServer, schedule: Schedule) -> None:
    async with World(own_redis.addr) as world:
        await schedule(world, own_redis)
        assert world.checker.violations == []
        assert world.checker.counts["reads"] > 0


@pytest.mark.parametrize(("mutant", "schedule", "found"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_a_mutant_is_found(own_redis: RedisServer, mutant: Mutant, schedule: Schedule, found: str) -> None:
    async with World(own_redis.addr) as world:
        mutant(world.patch)
        await schedule(world, own_redis)
        assert world.checker.violations, "the mutant lives"
        assert all(violation.startswith(found) for violation in world.checker.violations)
