"""A test of the checker with the product policy: several tags, further tags, policies that change."""

from collections.abc import Awaitable, Callable

import pytest

from tests.consistency import product_mutants as mutants
from tests.consistency import product_schedules as schedules
from tests.consistency.scenes import ProductScene
from tests.consistency.world import World
from tests.support.servers.redis import RedisServer

Schedule = Callable[[World, RedisServer], Awaitable[None]]
Mutant = Callable[[pytest.MonkeyPatch], None]

CASES: list[tuple[Mutant, Schedule, str]] = [
    (mutants.first_tag_only, schedules.a_list_that_an_event_names, "stale: v0"),
    (mutants.digest_left_out, schedules.a_policy_that_was_changed, "foreign: "),
    (mutants.entered_after_the_look, schedules.a_slug_whose_product_changes, "stale: v0"),
    (mutants.mark_gone_too_early, schedules.a_slug_fetched_while_its_product_changes, "stale: v0"),
    (mutants.confirmed_before_dependants, schedules.a_list_that_a_write_names, "stale: v0"),
    (mutants.not_vetted, schedules.a_slug_fetched_while_its_product_changes, "stale: v0"),
]


@pytest.mark.parametrize("schedule", [case[1] for case in CASES], ids=lambda schedule: schedule.__name__)
async def test_with_the_whole_protocol_there_is_no_violation(own_redis: RedisServer, schedule: Schedule) -> None:
    async with World(own_redis.addr, ProductScene()) as world:
        await schedule(world, own_redis)
        assert world.checker.violations == []
        assert world.checker.counts["reads"] > 0


@pytest.mark.parametrize(("mutant", "schedule", "found"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_a_mutant_is_found(own_redis: RedisServer, mutant: Mutant, schedule: Schedule, found: str) -> None:
    async with World(own_redis.addr, ProductScene()) as world:
        mutant(world.patch)
        await schedule(world, own_redis)
        assert world.checker.violations, "the mutant lives"
        assert all(violation.startswith(found) for violation in world.checker.violations)
