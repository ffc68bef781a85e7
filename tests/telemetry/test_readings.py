"""The counters as plain numbers: what moves which, and what a quantile of buckets is."""

import math
from collections import Counter

import pytest
from grpc import StatusCode

from proxy.telemetry.method_labels import MethodLabels
from proxy.telemetry.readings import difference, hit_ratio, quantile, read
from tests.support.media_methods import media_metrics

READ = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"


def test_a_fresh_process_reads_zero_of_everything() -> None:
    reading = read(media_metrics().registry, MethodLabels())
    assert sum(reading.results.values()) == 0
    assert (reading.upstream_calls, reading.upstream_failures, reading.pending, reading.fetches) == (0, 0, 0, 0)
    assert reading.dependencies == {}
    assert hit_ratio(reading.results) is None
    assert quantile(0.5, reading.answers["hit"]) is None
    assert quantile(0.5, reading.answers["miss"]) is None


def test_each_thing_that_happens_moves_its_own_number() -> None:
    metrics = media_metrics()
    metrics.request(READ, "hit", "redis", 0.0015)
    metrics.request(READ, "hit", "redis", 0.0015)
    metrics.request(READ, "miss", "none", 0.04)
    metrics.request(READ, "coalesced", "none", 9.0)
    metrics.server_call(UPLOAD, StatusCode.OK, 9.0)  # no answer of the cache
    metrics.client_call(READ, StatusCode.OK, 0.04)
    metrics.client_call(UPLOAD, StatusCode.UNAVAILABLE, 9.0)
    metrics.invalidation("event", 0.1)
    metrics.invalidations_pending(3)
    metrics.event("uploaded", "applied")
    metrics.event("deleted", "applied")
    metrics.fetch_started()
    metrics.shadow_difference()
    metrics.dependency("redis", up=True)
    metrics.dependency("upstream", up=False)
    reading = read(metrics.registry, metrics.methods)
    assert (reading.results["hit"], reading.results["miss"]) == (2, 1)
    assert [reading.answers["hit"][bound] for bound in (0.001, 0.002, math.inf)] == [0, 2, 2]
    assert [reading.answers["miss"][bound] for bound in (0.025, 0.05, math.inf)] == [0, 1, 1]
    assert (reading.upstream[math.inf], reading.upstream[0.025], reading.upstream[0.05]) == (1, 0, 1)
    assert (reading.upstream_calls, reading.upstream_failures) == (2, 1)
    assert reading.invalidations["event"] == 1
    assert reading.events["applied"] == 2
    assert (reading.pending, reading.fetches, reading.shadow_differences) == (3, 1, 1)
    assert reading.dependencies == {"redis": True, "upstream": False}


@pytest.mark.parametrize(
    ("results", "ratio"),
    [
        ({}, None),
        ({"bypass": 5}, None),
        ({"hit": 3, "miss": 1}, 0.75),
        ({"hit": 1, "stale": 1, "coalesced": 1, "miss": 1, "bypass": 100}, 0.5),
    ],
)
def test_the_hit_ratio_counts_what_could_have_been_a_hit(results: dict[str, int], ratio: float | None) -> None:
    assert hit_ratio(Counter(results)) == ratio


@pytest.mark.parametrize(
    ("share", "seconds"),
    [(0.5, 1.0), (0.25, 0.5), (0.75, 1.5), (1.0, 2.0)],
)
def test_a_quantile_lies_on_a_line_within_its_bucket(share: float, seconds: float) -> None:
    assert quantile(share, Counter({1.0: 50, 2.0: 100, math.inf: 100})) == pytest.approx(seconds)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile(0.99, Counter({1.0: 50, 2.0: 60, math.inf: 100})) == 2.0


def test_the_difference_of_two_readings_is_what_happened_in_between() -> None:
    earlier, later = Counter({1.0: 5, math.inf: 9}), Counter({1.0: 6, math.inf: 20})
    assert difference(later.items(), earlier) == Counter({1.0: 1, math.inf: 11})
