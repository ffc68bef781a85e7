"""`Durations` against prometheus_client's own Histogram: the same text for the same observations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from proxy.telemetry.durations import Durations

_BUCKETS = (0.001, 0.0025, 0.5, 1.0, 10.0)
_SECONDS = st.one_of(st.sampled_from(_BUCKETS), st.floats(0.0, 20.0, allow_nan=False))


def _text(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


@given(st.lists(st.tuples(st.sampled_from(["hit", 'a "quoted"\nlabel']), _SECONDS)))
def test_prometheus_reads_the_same_as_of_its_own_histogram(observations: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("seconds", "Moves.", ("result",), buckets=_BUCKETS, registry=ours)
    histogram = Histogram("seconds", "Moves.", ("result",), buckets=_BUCKETS, registry=theirs)
    for result, seconds in observations:
        durations.labels(result).observe(seconds)
        histogram.labels(result).observe(seconds)
    assert _text(ours) == _text(theirs)


def test_a_series_is_there_at_zero_once_it_is_named() -> None:
    registry = CollectorRegistry()
    Durations("seconds", "Moves.", ("result",), buckets=_BUCKETS, registry=registry).labels("hit")
    assert registry.get_sample_value("seconds_count", {"result": "hit"}) == 0


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Durations("seconds", "Moves.", ("result",), buckets=_BUCKETS, registry=registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Histogram("seconds", "Moves.", ("result",), buckets=_BUCKETS, registry=registry)
