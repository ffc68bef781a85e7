"""`Durations`: a histogram for every call, at a seventh of the cost of prometheus_client's Histogram.

That one takes a lock and walks through all buckets, and a hit updates two histograms. Here only the event loop's thread
observes and collects, so no lock is needed, and the bucket is found by bisection. prometheus_client's metric family
still produces the text for Prometheus.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Observed:
    """The observations with one combination of labels."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, not cumulative; the last bucket is for values above every bound."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Adds one observation. A bucket includes its upper bound."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds

    def add(self, at_most: Mapping[float, int], seconds: float) -> None:
        """Adds observations that were counted elsewhere: their numbers by the upper bound of the bucket (infinity for
        the last), and their sum in seconds.
        """
        for bound, count in at_most.items():
            self.counts[bisect_left(self._bounds, bound)] += count
        self.sum += seconds


class Durations(Collector):
    """Like prometheus_client's Histogram, `labels` creates children on demand. `buckets` are the upper bounds in
    seconds, ascending, without infinity.
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
        """The observations with these label values, in the order of the labels' names."""
        found = self._observed.get(values)
        if found is None:
            found = self._observed[values] = Observed(self._bounds)
        return found

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The name only, by which the registry refuses a second metric of this name."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All observations, with cumulative buckets as Prometheus expects them."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, observed in self._observed.items():
            buckets, total = [], 0
            for name, count in zip(self._names, observed.counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric(values, buckets, observed.sum)
        yield family
