"""A test of the checker with partial faults: it detects each missing protection, and nothing with all of them."""

from collections.abc import Awaitable, Callable

import pytest

from tests.consistency import mutants, partial_schedules
from tests.consistency.world import World
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer

Schedule = Callable[[World, RedisServer, RabbitServer], Awaitable[None]]
Mutant = Callable[[pytest.MonkeyPatch], None]

CASES: list[tuple[Mutant, Schedule]] = [
    (mutants.events_kept_without_redis, partial_schedules.a_process_without_redis_that_has_events),
    (mutants.able_to_answer_is_able, partial_schedules.a_server_that_refuses_writes),
    (mutants.confirmed_is_confirmed, partial_schedules.a_confirmation_of_a_server_that_is_no_more_asked),
    (mutants.a_lost_replica_means_nothing, partial_schedules.a_master_whose_replica_was_promoted),
    (mutants.an_address_is_looked_up_once, partial_schedules.an_address_that_leads_elsewhere),
    (mutants.silence_is_no_symptom, partial_schedules.a_publisher_that_is_mute),
    (mutants.any_event_speaks_for_all, partial_schedules.one_of_several_publishers_that_is_mute),
]


@pytest.mark.parametrize("schedule", [case[1] for case in CASES], ids=lambda schedule: schedule.__name__)
async def test_with_every_protection_there_is_no_violation(
    own_redis: RedisServer, rabbit: RabbitServer, schedule: Schedule
) -> None:
    async with World(own_redis.addr) as world:
        await schedule(world, own_redis, rabbit)
        assert world.checker.violations == []
        assert world.checker.counts["reads"] > 0


@pytest.mark.parametrize(("mutant", "schedule"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_a_mutant_is_found(
    own_redis: RedisServer, rabbit: RabbitServer, mutant: Mutant, schedule: Schedule
) -> None:
    async with World(own_redis.addr) as world:
        mutant(world.patch)
        await schedule(world, own_redis, rabbit)
        assert world.checker.violations, "the mutant lives"
        assert all(violation.startswith("stale: v0") for violation in world.checker.violations)
