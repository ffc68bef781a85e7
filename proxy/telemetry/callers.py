"""`Callers`: calls by gRPC status, refusals by limit, and how much of each limit is in use.

A limit has the name of its setting, or a word of `_FIXED` if it has no setting. Every refusal is counted. The log has
at most one line a minute for each limit, with the number of refusals since the previous line.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.telemetry.log import RateLimit

_log = logging.getLogger(__name__)

Ended = Mapping[tuple[str, str], int]
"""Label of the method and gRPC status -> how many calls have ended with that status since the start."""

_SETTINGS = (
    *("MAX_CONCURRENT_CALLS", "MAX_BYTES_IN_FLIGHT", "MAX_METADATA_BYTES", "MAX_MESSAGE_BYTES"),
    *("ACCEPT_COMPRESSED", "CALL_TIMEOUT", "MAX_CONNECTIONS"),
)
_FIXED = ("uploads", "unread")
LIMITS = (*_SETTINGS, *_FIXED)
_STATUSES = ("OK", "INTERNAL", "RESOURCE_EXHAUSTED")
"""Exported as 0 from the start: Prometheus' `rate` misses the first increment of a series that begins with it."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit is in use, in the limit's unit: calls, bytes or connections."""

    used: int
    limit: int


class Callers(Collector):
    """Registers itself in `registry`. `methods` returns the labels of all methods; `ended` returns the calls so far."""

    def __init__(
        self, registry: CollectorRegistry, methods: Callable[[], Iterable[str]], ended: Callable[[], Ended]
    ) -> None:
        self.ended = ended
        """A transport that counts the statuses itself replaces this."""
        self._methods = methods
        self._refused = Counter[str](dict.fromkeys(LIMITS, 0))
        self._untold = Counter[str]()
        self._lines = RateLimit()
        self._uses: defaultdict[str, list[Callable[[], Use]]] = defaultdict(list)
        registry.register(self)

    def refused(self, limit: str, details: str, count: int = 1) -> None:
        """Counts `count` calls that were refused because of `limit`; `details` is what the callers were told."""
        self._refused[limit] += count
        self._untold[limit] += count
        if self._lines.admit(limit) is not None:
            fields = {"limit": limit, "refused": self._untold.pop(limit)}
            named = "" if limit in details or limit in _FIXED else f" ({limit})"
            _log.warning("calls refused by the proxy: %s%s", details, named, extra=fields)

    def limited(self, limit: str, use: Callable[[], Use]) -> None:
        """Registers `use`, which says how much of `limit` is in use. If there are several, the fullest one counts."""
        self._uses[limit].append(use)

    def uses(self) -> dict[str, Use]:
        """The present use of each limit, by its name."""
        return {
            limit: max((use() for use in uses), key=lambda use: use.used / use.limit)
            for limit, uses in self._uses.items()
        }

    def collect(self) -> Iterable[Metric]:
        """The metrics, for the Prometheus client."""
        calls = CounterMetricFamily(
            "media_cache_calls",
            "Calls that have ended, by method and by the gRPC status that the caller got",
            labels=("method", "status"),
        )
        zeros = {(method, status): 0 for method in self._methods() for status in _STATUSES}
        for labels, count in {**zeros, **self.ended()}.items():
            calls.add_metric(labels, count)
        refusals = CounterMetricFamily(
            "media_cache_refusals",
            "Calls that the proxy itself refused, by the limit reached: a setting, or in lower case a fixed limit",
            labels=("limit",),
        )
        for limit, count in self._refused.items():
            refusals.add_metric((limit,), count)
        used = GaugeMetricFamily(
            "media_cache_limit_used", "Calls, bytes or connections that count against a limit now", labels=("limit",)
        )
        most = GaugeMetricFamily(
            "media_cache_limit_max", "Calls, bytes or connections that a limit allows at most", labels=("limit",)
        )
        for limit, use in self.uses().items():
            used.add_metric((limit,), use.used)
            most.add_metric((limit,), use.limit)
        return calls, refusals, used, most
