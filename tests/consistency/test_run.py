"""Proxies under load while Redis, RabbitMQ, the proxies and the origin fail: no read is ever wrong (I1-I6)."""

import pytest

from tests.consistency.run import Plan, carry_out, running
from tests.support.servers.rabbitmq import RabbitServer

_SECONDS, _SEED = 20.0, 20261123  # a minimum; it continues until every fault was injected once


@pytest.mark.timeout(400)
async def test_no_partial_fault_makes_a_read_of_products_wrong(own_rabbit: RabbitServer) -> None:
    """Writes of two tags, events that name a list, and reads by slug, with the product as a further tag."""
    plan = Plan(_SEED, "product", redis="alone", faults=frozenset({"partial"}), quick=True)
    async with running(plan, own_rabbit) as run:
        await carry_out(run, _SECONDS / 2)
        counts = run.checker.counts
        assert run.checker.violations == [], run.report()
        for what in ("answers by slug: hit", "answers by list: hit", "answers by id: hit", "invalidations applied"):
            assert counts[what] > 0, what


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("redis", "only"), [("sentinel", ("failover", "planned failover")), ("cluster", ("Redis killed", "Redis frozen"))]
)
async def test_no_failover_makes_a_read_of_products_wrong(
    own_rabbit: RabbitServer, redis: str, only: tuple[str, ...]
) -> None:
    """Another master may know fewer dependants."""
    async with running(Plan(_SEED, "product", redis=redis, only=only), own_rabbit) as run:
        await carry_out(run, _SECONDS)
        assert run.checker.violations == [], run.report()
        assert set(run.schedule.counts) == set(run.schedule.kinds)
        for what in ("answers by slug: hit", "invalidations applied"):
            assert run.checker.counts[what] > 0, what


@pytest.mark.timeout(400)  # on a busy machine, a broker that was killed takes half a minute to start
async def test_no_fault_makes_a_read_wrong(own_rabbit: RabbitServer) -> None:
    async with running(Plan(_SEED, redis="alone", quick=True), own_rabbit) as run:
        await carry_out(run, _SECONDS)
        counts = run.checker.counts
        assert run.checker.violations == [], run.report()
        assert set(run.schedule.counts) == set(run.schedule.kinds)
        # The run proves something only if there were hits, and invalidations that affected them.
        for what in ("answers: hit", "answers: miss", "commits", "invalidations applied", "flushes applied"):
            assert counts[what] > 0, what
