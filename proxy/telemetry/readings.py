"""`Reading`: the values of the metrics at one moment, as plain numbers, and the quantiles between two readings.

They come from the metrics' own registry, so that calls are not counted twice and the admin page shows the same numbers
as Prometheus.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from proxy.telemetry.method_labels import MethodLabels

RESULTS = ("hit", "stale", "coalesced", "miss", "bypass", "failure")
_NAMES = (
    "media_cache_requests_total",
    "media_cache_request_duration_seconds_bucket",
    "rpc_client_call_duration_seconds_bucket",
    "media_cache_invalidations_total",
    "media_cache_invalidations_pending",
    "media_cache_events_total",
    "media_cache_fetches_in_flight",
    "media_cache_shadow_differences_total",
    "media_cache_dependency_up",
    "media_cache_calls_total",
    "media_cache_refusals_total",
)

Buckets = Counter[float]
"""Upper bound in seconds -> number of observations of at most this length (cumulative, as in Prometheus)."""


@dataclass(slots=True)
class Reading:
    """All counts are since the start of the process."""

    results: Counter[str] = field(default_factory=Counter)
    """Answers of cacheable methods by result."""
    by_method: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """`results` for each method, by its label `method`."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Calls of any method by the gRPC status that the caller got."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Calls that the proxy itself refused, by limit."""
    answers: defaultdict[str, Buckets] = field(default_factory=lambda: defaultdict(Counter))
    """How long answers of cacheable methods took, by result."""
    upstream: Buckets = field(default_factory=Counter)
    """How long calls of cacheable methods took upstream."""
    upstream_calls: int = 0
    """Calls upstream of any method that have ended."""
    upstream_failures: int = 0
    """Those of `upstream_calls` that did not end with OK."""
    invalidations: Counter[str] = field(default_factory=Counter)
    """Invalidations by source."""
    events: Counter[str] = field(default_factory=Counter)
    """Messages from RabbitMQ by outcome."""
    dependencies: dict[str, bool] = field(default_factory=dict)
    """Whether each dependency can be used, by its name."""
    pending: int = 0
    """Invalidations that Redis has not confirmed yet."""
    fetches: int = 0
    """Fetches for the cache that are in progress."""
    shadow_differences: int = 0
    """Calls in shadow mode for which the cache had a different answer."""


def read(registry: CollectorRegistry, methods: MethodLabels) -> Reading:
    """Reads the metrics of `registry`."""
    reading = Reading()
    for metric in registry.restricted_registry(_NAMES).collect():
        for sample in metric.samples:
            _take(reading, sample, methods)
    return reading


_COUNTED = {
    "media_cache_requests_total": ("results", "result"),
    "media_cache_invalidations_total": ("invalidations", "source"),
    "media_cache_events_total": ("events", "outcome"),
    "media_cache_calls_total": ("statuses", "status"),
    "media_cache_refusals_total": ("refusals", "limit"),
}
"""Metric -> the counter of `Reading` that it adds to, and the label that becomes the counter's key."""
_NUMBERS = {
    "media_cache_invalidations_pending": "pending",
    "media_cache_fetches_in_flight": "fetches",
    "media_cache_shadow_differences_total": "shadow_differences",
}


def _take(reading: Reading, sample: Sample, methods: MethodLabels) -> None:
    value, labels = sample.value, sample.labels
    if sample.name in _COUNTED:
        counter, label = _COUNTED[sample.name]
        getattr(reading, counter)[labels[label]] += int(value)
        if counter == "results":
            reading.by_method[labels["method"]][labels["result"]] += int(value)
    elif sample.name in _NUMBERS:
        setattr(reading, _NUMBERS[sample.name], int(value))
    elif sample.name == "media_cache_request_duration_seconds_bucket":
        reading.answers[labels["result"]][float(labels["le"])] += int(value)
    elif sample.name == "rpc_client_call_duration_seconds_bucket":
        _take_upstream(reading, labels, int(value), methods)
    elif sample.name == "media_cache_dependency_up":
        reading.dependencies[labels["dependency"]] = value > 0


def _take_upstream(reading: Reading, labels: dict[str, str], count: int, methods: MethodLabels) -> None:
    bound = float(labels["le"])
    if f"/{labels['rpc_method']}" in methods.cached:
        reading.upstream[bound] += count
    if bound == math.inf:
        reading.upstream_calls += count
        reading.upstream_failures += count if labels["rpc_status_code"] != "OK" else 0


def hit_ratio(results: Counter[str]) -> float | None:
    """The share of answers from the cache among all those that could have come from it; None if there were none."""
    served = results["hit"] + results["stale"]
    asked = served + results["miss"] + results["coalesced"]
    return served / asked if asked else None


def quantile(share: float, buckets: Buckets) -> float | None:
    """The time in seconds that `share` (0 to 1) of the observations did not exceed, interpolated linearly within its
    bucket as Prometheus' `histogram_quantile` does; None if there were no observations.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total <= 0:
        return None
    wanted = share * total
    at = next(at for at, bound in enumerate(bounds) if buckets[bound] >= wanted)
    low, below = (bounds[at - 1], buckets[bounds[at - 1]]) if at else (0.0, 0)
    if bounds[at] == math.inf:
        return low
    return low + (bounds[at] - low) * (wanted - below) / max(1, buckets[bounds[at]] - below)


def difference(later: Iterable[tuple[float, int]], earlier: Buckets) -> Buckets:
    """The buckets of what was observed between two readings."""
    return Counter({bound: count - earlier[bound] for bound, count in later})
