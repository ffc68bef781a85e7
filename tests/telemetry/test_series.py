"""The last hour: each step says what happened in it, and only in it."""

import asyncio
from collections import Counter, defaultdict

import pytest

from proxy.telemetry.readings import Reading
from proxy.telemetry.series import MOST_POINTS, Series
from tests.support.redis_parts import running
from tests.support.servers.waiting import until


class Source:
    """Counters and clocks that a test turns."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.answers: dict[str, Counter[float]] = {}
        self.now = 100.0
        self.series = Series(self.read, clock=lambda: self.now, wall_clock=lambda: 1000.0 + self.now)

    def read(self) -> Reading:
        return Reading(results=Counter(self.results), answers=defaultdict(Counter, self.answers))

    def step(self, seconds: float = 5.0, **results: int) -> None:
        self.results.update(results)
        self.now += seconds
        self.series.take()


def test_each_point_counts_its_own_step() -> None:
    source = Source()
    source.answers["hit"] = Counter({0.5: 0, 1.0: 10, float("inf"): 10})
    source.answers["miss"] = Counter({0.5: 0, 1.0: 0, 2.0: 10, float("inf"): 10})
    source.step(hit=9, miss=1)
    source.step(hit=1, miss=1)
    source.step()
    first, second, third = source.series.points(0)
    assert (first.at, first.seconds, first.hit_ratio, first.results["hit"]) == (1105.0, 5.0, 0.9, 9)
    found = [first.hit_p50, first.hit_p99, first.miss_p50, first.miss_p99]
    assert found == pytest.approx([0.75, 0.995, 1.5, 1.99])
    assert (second.hit_p50, second.hit_p99, second.miss_p50, second.miss_p99) == (None, None, None, None)
    assert (second.hit_ratio, third.hit_ratio) == (0.5, None)


def test_points_are_told_once() -> None:
    source = Source()
    for _ in range(3):
        source.step(hit=1)
    assert [point.at for point in source.series.points(1105.0)] == [1110.0, 1115.0]


def test_the_present_step_moves_before_it_ends() -> None:
    source = Source()
    source.step(hit=4)
    source.now += 2
    source.results.update(hit=1, miss=3)
    present = source.series.present(source.read())
    assert (present.seconds, present.hit_ratio) == (2.0, 0.25)


def test_the_summary_is_of_five_minutes() -> None:
    source = Source()
    source.step(hit=100)
    for _ in range(59):
        source.step(miss=1)
    assert source.series.summary(source.read()).results == dict.fromkeys(
        ("stale", "coalesced", "bypass", "failure"), 0
    ) | {
        "hit": 100,
        "miss": 59,
    }
    source.step(miss=1)
    summary = source.series.summary(source.read())
    assert (summary.seconds, summary.hit_ratio, summary.results["miss"]) == (300.0, 0.0, 60)


def test_it_is_bounded() -> None:
    source = Source()
    for _ in range(MOST_POINTS + 10):
        source.step()
    assert len(source.series.points(0)) == MOST_POINTS
    assert len(source.series._recent) == 61


async def test_it_takes_a_step_by_itself_until_cancelled() -> None:
    series = Series(Reading, step=0.001)
    async with running(series.run()):
        await until(lambda: len(series.points(0)) >= 3, "three steps")
    ended = len(series.points(0))
    await asyncio.sleep(0)
    assert len(series.points(0)) == ended
