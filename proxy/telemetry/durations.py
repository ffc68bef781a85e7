"""`Durations`: a histogram for every call, at a seventh of the cost of prometheus_client's own.

That one takes a lock and goes through all its buckets, and a hit has two histograms. Here only the event loop's thread
observes and collects, so there is no lock, and the bucket is found by bisection. The library's own metric family makes
the text for Prometheus.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Observed:
    """The observations with one set of labels."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, each without those below it; the last is of what is above every bound."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more; a bucket holds what is at most its bound."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds

    def add(self, at_most: Mapping[float, int], seconds: float) -> None:
        """Many at once, counted elsewhere: by the bound of their bucket, infinity for the last; `seconds` in all."""
        for bound, count in at_most.items():
            self.counts[bisect_left(self._bounds, bound)] += count
        self.sum += seconds


class Durations(Collector):
    """As prometheus_client's Histogram: `labels` makes what is not there yet. `buckets` are upper bounds in seconds,
    ascending, without the infinite one.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._names = (*map(floatToGoString, self._bounds), "+Inf")
        self._observed: dict[tuple[str, ...], Observed] = {}
        registry.register(self)

    def labels(self, *values: str) -> Observed:
        """Those with these values, in the order of the labels' names."""
        found = self._observed.get(values)
        if found is None:
            found = self._observed[values] = Observed(self._bounds)
        return found

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The names alone, so that the registry can refuse a second metric of this name."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All of them, as Prometheus counts: each bucket with those below it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, observed in self._observed.items():
            buckets, total = [], 0
            for name, count in zip(self._names, observed.counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric(values, buckets, observed.sum)
        yield family
