"""`Callers`: calls by gRPC status, refusals by limit, and how full each limit is.

A limit is named by its setting, or by a word of `_FIXED` where there is no setting. Each refusal is counted; the log
has one line a minute for each limit, with how many there were since the line before.
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
"""Method and gRPC status -> how many calls ended so, since the start."""

_SETTINGS = (
    *("MAX_CONCURRENT_CALLS", "MAX_BYTES_IN_FLIGHT", "MAX_METADATA_BYTES", "MAX_MESSAGE_BYTES"),
    *("ACCEPT_COMPRESSED", "CALL_TIMEOUT", "MAX_CONNECTIONS"),
)
_FIXED = ("uploads", "unread")
LIMITS = (*_SETTINGS, *_FIXED)
_STATUSES = ("OK", "INTERNAL", "RESOURCE_EXHAUSTED")
"""What is there at zero from the start: a rate over a series that appears with its first increment misses that one."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit is in use, in its own unit: calls, bytes, connections."""

    used: int
    limit: int


class Callers(Collector):
    """In `registry` from the start. `methods` tells the labels that calls have; `ended` counts the calls."""

    def __init__(
        self, registry: CollectorRegistry, methods: Callable[[], Iterable[str]], ended: Callable[[], Ended]
    ) -> None:
        self.ended = ended
        """Replaced by a transport that counts by itself what its callers got."""
        self._methods = methods
        self._refused = Counter[str](dict.fromkeys(LIMITS, 0))
        self._untold = Counter[str]()
        self._lines = RateLimit()
        self._uses: defaultdict[str, list[Callable[[], Use]]] = defaultdict(list)
        registry.register(self)

    def refused(self, limit: str, details: str, count: int = 1) -> None:
        """The proxy refused a call, or `count` of them; `details` is what the callers were told."""
        self._refused[limit] += count
        self._untold[limit] += count
        if self._lines.admit(limit) is not None:
            fields = {"limit": limit, "refused": self._untold.pop(limit)}
            named = "" if limit in details or limit in _FIXED else f" ({limit})"
            _log.warning("calls refused by the proxy: %s%s", details, named, extra=fields)

    def limited(self, limit: str, use: Callable[[], Use]) -> None:
        """From now on `use` says how full this limit is. Said of one limit twice, the fuller one counts."""
        self._uses[limit].append(use)

    def uses(self) -> dict[str, Use]:
        """How full each limit is now."""
        return {
            limit: max((use() for use in uses), key=lambda use: use.used / use.limit)
            for limit, uses in self._uses.items()
        }

    def collect(self) -> Iterable[Metric]:
        """The metrics, as Prometheus names them."""
        calls = CounterMetricFamily(
            "media_cache_calls",
            "Callers' calls that have ended, by method and by the gRPC status that the caller got",
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
            "media_cache_limit_used", "Calls, bytes or connections in use under a limit now", labels=("limit",)
        )
        most = GaugeMetricFamily(
            "media_cache_limit_max", "Maximum calls, bytes or connections under a limit", labels=("limit",)
        )
        for limit, use in self.uses().items():
            used.add_metric((limit,), use.used)
            most.add_metric((limit,), use.limit)
        return calls, refusals, used, most
