"""`Reading`: the counters of one moment, as plain numbers; and how two of them become a quantile.

They are read from the metrics' own registry, so calls need no further counting, and the admin page shows the same
numbers as Prometheus.
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
"""Upper bound in seconds -> how many observations were at most that long, as Prometheus counts them."""


@dataclass(slots=True)
class Reading:
    """Everything counts since the process started."""

    results: Counter[str] = field(default_factory=Counter)
    """Answers of cacheable methods by result."""
    by_method: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """The same for each method, by its label."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Calls of any method by the gRPC status that the caller got."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Calls that the proxy itself refused, by limit."""
    answers: defaultdict[str, Buckets] = field(default_factory=lambda: defaultdict(Counter))
    """How long it took to answer it, by result."""
    upstream: Buckets = field(default_factory=Counter)
    """How long upstream took for cacheable methods."""
    upstream_calls: int = 0
    upstream_failures: int = 0
    """Calls of any method that did not end with OK."""
    invalidations: Counter[str] = field(default_factory=Counter)
    """By source."""
    events: Counter[str] = field(default_factory=Counter)
    """By outcome."""
    dependencies: dict[str, bool] = field(default_factory=dict)
    pending: int = 0
    fetches: int = 0
    shadow_differences: int = 0


def read(registry: CollectorRegistry, methods: MethodLabels) -> Reading:
    """The counters now."""
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
"""Metric -> the counter of a `Reading` that it adds to, and the label that it is counted by."""
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
    """The share that came out of the cache, of all answers that could have; None: there were none."""
    served = results["hit"] + results["stale"]
    asked = served + results["miss"] + results["coalesced"]
    return served / asked if asked else None


def quantile(share: float, buckets: Buckets) -> float | None:
    """Seconds that this share of the observations took at most, read off a straight line within the bucket, as
    Prometheus' `histogram_quantile` does; None: there were none.
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
    """What was observed in between."""
    return Counter({bound: count - earlier[bound] for bound, count in later})
