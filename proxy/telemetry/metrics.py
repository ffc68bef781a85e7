"""`Metrics`: every metric's name, labels and help text, and one typed method for each thing that can happen.

They have a registry of their own. Label values come from the policy (methods) or from the proxy's code, never from text
that a caller sends, so that their number is bounded. The child for each combination of labels is looked up once.

`rpc_*` are OpenTelemetry's RPC metrics (semantic conventions 1.45, "RPC metrics") as Prometheus spells them.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from proxy.telemetry import process_metrics, span_names
from proxy.telemetry.buckets import CALL_SECONDS
from proxy.telemetry.callers import Callers, Ended, Use
from proxy.telemetry.dependants_metric import crowded
from proxy.telemetry.durations import Durations, Observed
from proxy.telemetry.failing import UNSUCCESSFUL
from proxy.telemetry.method_labels import OTHER, MethodLabels
from proxy.telemetry.policy_failures import policy_failures
from proxy.telemetry.policy_reloads import PolicyReloads
from proxy.telemetry.popular import Popular
from proxy.telemetry.span_names import SERVER_ERRORS
from proxy.telemetry.upstream_answers import UpstreamAnswers

Result = Literal["hit", "miss", "stale", "coalesced", "bypass", "failure"]
Tier = Literal["redis", "none"]

_EXPECTED: tuple[tuple[Result, Tier], ...] = (
    *(("hit", "redis"), ("stale", "redis")),
    *(("miss", "none"), ("coalesced", "none"), ("bypass", "none"), ("failure", "none")),
)

_FAILURES = SERVER_ERRORS - {StatusCode.UNIMPLEMENTED}
"""The statuses by which an upstream fails. UNIMPLEMENTED is a mistake of the caller."""
_RPC_LABELS = ("rpc_system_name", "rpc_method", "rpc_status_code", "error_type")
_LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
_ENTRY_BYTES = tuple(1 << power for power in range(8, 27, 2))


class Metrics:
    """All metrics of a process. Durations are in seconds and sizes in bytes; methods are paths as on the wire."""

    def __init__(self) -> None:
        # A `_created` series for each counter and histogram would nearly double what is scraped; the library has no
        # switch for a registry, only this one.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self.methods = MethodLabels()
        self._requests = Counter(
            "media_cache_requests_total",
            "Answered calls of cacheable methods, by x-cache; failure means that there was no good answer",
            ("method", "result", "tier"),
            registry=self.registry,
        )
        self._request_seconds = Durations(
            "media_cache_request_duration_seconds",
            "Seconds from reading a cacheable call's request to its answer, by result",
            ("result",),
            buckets=CALL_SECONDS,
            registry=self.registry,
        )
        self._server_calls = Durations(
            "rpc_server_call_duration_seconds",
            "Seconds from a call's arrival to its end",
            _RPC_LABELS,
            buckets=CALL_SECONDS,
            registry=self.registry,
        )
        self._client_calls = Durations(
            "rpc_client_call_duration_seconds",
            "Seconds that a call to an upstream service took",
            _RPC_LABELS,
            buckets=CALL_SECONDS,
            registry=self.registry,
        )
        self._entry_bytes = Histogram(
            "media_cache_entry_bytes",
            "Bytes of an answer, observed once Redis has confirmed that it stored it",
            buckets=_ENTRY_BYTES,
            registry=self.registry,
        )
        self._fetches = Gauge(
            "media_cache_fetches_in_flight",
            "Fetches for the cache that the upstream service has not answered yet",
            registry=self.registry,
        )
        self._shadow_differences = Counter(
            "media_cache_shadow_differences_total",
            "Calls in shadow mode for which the cached answer would have differed from the upstream service's",
            registry=self.registry,
        )
        self.policy_problem = policy_failures(self.registry, self.methods.of)
        self.crowded = crowded(self.registry, self.methods.of)
        self.policy_reloads = PolicyReloads(self.registry)
        self._declare_invalidations()
        # Only for successes, the most frequent case: to hash a StatusCode takes longer than all the rest.
        self._server_successes: dict[str, Observed] = {}
        self._client_successes: dict[str, Observed] = {}
        self._hits: dict[str, tuple[Counter, Observed, Observed]] = {}
        self._request_children: dict[tuple[str, Result, Tier], tuple[Counter, Observed]] = {}
        self.upstream_answers = UpstreamAnswers(self.registry)
        self.callers = Callers(self.registry, lambda: (*self.methods.by_path.values(), OTHER), self._ended)
        self.bad_settings = process_metrics.declare(self.registry)
        self.popular = Popular()

    def serves(self, labels: Mapping[str, str], reads: Iterable[str]) -> None:
        """Gives these methods labels of their own from now on; `reads` are those whose answers are stored.

        Their series exist from the start, at zero: a rate over a series that appears with its first increment misses
        that increment.
        """
        self.methods.add(labels, reads)
        span_names.known(labels)
        for read in self.methods.cached:
            for expected in _EXPECTED:
                self._request_children[read, *expected] = self._request_child(self.methods.of(read), *expected)

    def _ended(self) -> Ended:
        """The calls that were reported to `server_call` so far."""
        found = Counts[tuple[str, str]]()
        for sample in (sample for family in self._server_calls.collect() for sample in family.samples):
            if sample.name == "rpc_server_call_duration_seconds_count":
                label = self.methods.of_rpc(sample.labels["rpc_method"])
                found[label, sample.labels["rpc_status_code"]] += int(sample.value)
        return found

    def _declare_invalidations(self) -> None:
        self._invalidations = Counter(
            "media_cache_invalidations_total",
            "Invalidations that Redis has confirmed, by what requested them; a flush counts as one",
            ("source",),
            registry=self.registry,
        )
        for source in ("event", "write", "admin"):
            self._invalidations.labels(source)
        self._lag = Histogram(
            "media_cache_invalidation_lag_seconds",
            "Seconds from an event's timestamp (or, without one, its receipt) until its invalidation was applied",
            buckets=_LAG_SECONDS,
            registry=self.registry,
        )
        self._pending = Gauge(
            "media_cache_invalidations_pending",
            "Invalidations that Redis has not confirmed yet; reads of their models bypass the cache",
            registry=self.registry,
        )
        self._events = Counter(
            "media_cache_events_total",
            "Messages from RabbitMQ by kind and outcome; retried counts each attempt that has to be repeated",
            ("kind", "outcome"),
            registry=self.registry,
        )
        for kind in ("uploaded", "deleted"):
            for outcome in ("applied", "malformed", "oversize", "retried"):
                self._events.labels(kind, outcome)
        self._events_missing = Gauge(
            "media_cache_events_missing",
            "Whether writes have succeeded without a media event following them (1), or not (0)",
            registry=self.registry,
        )
        self._dependency_up = Gauge(
            "media_cache_dependency_up",
            "Whether a dependency can be used (1) or is lost (0); absent if it is not configured",
            ("dependency",),
            registry=self.registry,
        )

    def request(self, method: str, result: Result, tier: Tier, seconds: float) -> None:
        """Counts a cacheable call; `tier` is the tier of the cache that answered it, or none."""
        try:
            count, duration = self._request_children[method, result, tier]
        except KeyError:
            label = self.methods.of(method)
            count, duration = self._request_child(label, result, tier)
            if label != OTHER:
                self._request_children[method, result, tier] = count, duration
        count.inc()
        duration.observe(seconds)

    def _request_child(self, label: str, result: Result, tier: Tier) -> tuple[Counter, Observed]:
        return self._requests.labels(label, result, tier), self._request_seconds.labels(result)

    def hit(self, method: str, seconds: float) -> None:
        """Counts a hit: `request` and `server_call` in one, for the most frequent case."""
        count, duration, calls = self._hits.get(method) or self._hit_children(method)
        count.inc()
        duration.observe(seconds)
        calls.observe(seconds)

    def _hit_children(self, method: str) -> tuple[Counter, Observed, Observed]:
        """`method` is a method of the policy, never a caller's text."""
        calls = self._server_calls.labels("grpc", self.methods.rpc(method), StatusCode.OK.name, "")
        self._hits[method] = children = (*self._request_child(self.methods.of(method), "hit", "redis"), calls)
        return children

    def server_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Counts a call to this proxy that has ended."""
        error = code.name if code in SERVER_ERRORS else ""
        self._observe(self._server_calls, self._server_successes, method, code, error, seconds)

    def refused(self, limit: str, details: str) -> None:
        """Counts a call that the proxy refused because of a limit."""
        self.callers.refused(limit, details)

    def limited(self, limit: str, use: Callable[[], Use]) -> None:
        """Registers `use`, which says how full a limit is."""
        self.callers.limited(limit, use)

    def client_call(self, method: str, code: StatusCode, seconds: float) -> None:
        """Counts a call to an upstream service that has ended."""
        error = "" if code is StatusCode.OK else code.name
        if code in _FAILURES:
            self.upstream_answers.of(method).failed(error)
        elif code is not StatusCode.CANCELLED and (error or method not in self.methods.cached):
            # For a cacheable method `answered` decides by the message.
            self.upstream_answers.of(method).good()
        self._observe(self._client_calls, self._client_successes, method, code, error, seconds)

    def answered(self, method: str, *, successful: bool) -> None:
        """Records that upstream answered a cacheable call with OK, and whether its message reports success."""
        answers = self.upstream_answers.of(method)
        if successful:
            answers.good()
        else:
            answers.failed(UNSUCCESSFUL)

    def forwarded_calls(
        self, method: str, code: StatusCode, at_most: Mapping[float, int], seconds: float, *, upstream: bool
    ) -> None:
        """Adds calls that Envoy forwarded by itself; see `Observed.add`. `upstream` says that they reached upstream."""
        sides = ((self._server_calls, code in SERVER_ERRORS), (self._client_calls, code is not StatusCode.OK))
        for calls, failed in sides[: 1 + upstream]:
            error = code.name if failed else ""
            calls.labels("grpc", self.methods.rpc(method), code.name, error).add(at_most, seconds)

    def _observe(
        self,
        calls: Durations,
        successful: dict[str, Observed],
        method: str,
        code: StatusCode,
        error: str,
        seconds: float,
    ) -> None:
        child = successful.get(method) if code is StatusCode.OK else None
        if child is None:
            child = calls.labels("grpc", self.methods.rpc(method), code.name, error)
            if code is StatusCode.OK and method in self.methods.by_path:  # callers can make up any number of methods
                successful[method] = child
        child.observe(seconds)

    def invalidation(self, source: str, lag_seconds: float | None = None) -> None:
        """Counts an invalidation from `source` (event, write, admin) that Redis confirmed. `lag_seconds` is for events;
        negative lags, from a publisher's clock that is ahead, count as 0.
        """
        self._invalidations.labels(source).inc()
        if lag_seconds is not None:
            self._lag.observe(max(0.0, lag_seconds))

    def invalidations_pending(self, count: int) -> None:
        """Sets the number of invalidations that wait for Redis."""
        self._pending.set(count)

    def event(self, kind: str, outcome: str) -> None:
        """Counts a message that was handled, or a failed attempt. Both arguments are from fixed lists."""
        self._events.labels(kind, outcome).inc()

    def dependency(self, name: str, *, up: bool) -> None:
        """Sets whether a dependency can be used. The first call creates its series."""
        self._dependency_up.labels(name).set(1.0 if up else 0.0)

    def events_missing(self, missing: bool) -> None:
        """Sets whether writes succeed without events that follow them."""
        self._events_missing.set(1.0 if missing else 0.0)

    def fetch_started(self) -> None:
        """Counts a fetch in progress; `fetch_ended` follows in any case."""
        self._fetches.inc()

    def fetch_ended(self) -> None:
        """Counts a fetch that has ended."""
        self._fetches.dec()

    def entry_bytes(self, size: int) -> None:
        """Counts an answer that Redis stored, by its size in bytes."""
        self._entry_bytes.observe(size)

    def shadow_difference(self) -> None:
        """Counts a call in shadow mode that the cache would have answered differently."""
        self._shadow_differences.inc()
