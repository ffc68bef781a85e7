"""`Stats`: the answer of `/stats`: how well the proxy caches, what is broken, and what was invalidated last."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proxy import __version__
from proxy.admin.conditions import Conditions
from proxy.admin.verdict import verdict
from proxy.caching.policy import Policy
from proxy.service_states import ServiceState
from proxy.telemetry.invalidation_log import Invalidation, InvalidationLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.popular import PopularModel
from proxy.telemetry.readings import RESULTS, Reading, hit_ratio, read
from proxy.telemetry.series import Series

_TOP_MODELS = 20


class Stats:
    """Must be made when the process starts, since uptime counts from then."""

    def __init__(
        self,
        metrics: Metrics,
        policy: Policy,
        recent: InvalidationLog,
        conditions: Conditions,
    ) -> None:
        self._registry, self._methods = metrics.registry, metrics.methods
        self._callers = metrics.callers
        self._policy = policy
        self._recent = recent
        self._conditions = conditions
        self._popular = metrics.popular
        self._policy_reloads = metrics.policy_reloads
        self._started = time.monotonic()
        self.series = Series(self._reading)

    def document(self, since: float | None, flush: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer, ready for JSON. Durations are in seconds, times in seconds since 1970. `series` has the points
        after `since`, and none if that is None. `flush` is that of `flushing.told`.
        """
        reading = self._reading()
        services = self._conditions.services.apart() if self._conditions.services is not None else []
        told = {**self._told(reading, services, since), "flush": flush}
        told["verdict"] = verdict(told, services, self._conditions.faults(), self._policy_reloads.mistake)
        return told

    def _told(self, reading: Reading, services: Sequence[ServiceState], since: float | None) -> dict[str, Any]:
        return {
            "version": __version__,
            "now": time.time(),
            "uptime": time.monotonic() - self._started,
            "memory_bytes": _resident_bytes(),
            "envoy_restarts": self._envoy_restarts(),
            "mode": self._policy.mode,
            "ttl": self._policy.ttl,
            "unready": self._conditions.unready(),
            "results": {result: reading.results[result] for result in RESULTS},
            "hit_ratio": hit_ratio(reading.results),
            "methods": {
                method: {
                    "results": {result: counts[result] for result in RESULTS},
                    "hit_ratio": hit_ratio(counts),
                }
                for method, counts in sorted(reading.by_method.items())
            },
            "callers": {
                "by_status": {status: count for status, count in sorted(reading.statuses.items()) if count},
                "refused": {limit: count for limit, count in reading.refusals.items() if count},
                "limits": {limit: asdict(use) for limit, use in self._callers.uses().items()},
            },
            "last_5_minutes": asdict(self.series.summary(reading)),
            "upstream": {
                "calls": reading.upstream_calls,
                "failures": reading.upstream_failures,
                "fetches_in_flight": reading.fetches,
            },
            "shadow_differences": reading.shadow_differences,
            "dependencies": {name: asdict(state()) for name, state in self._conditions.dependencies.items()},
            "services": [_shown_service(each) for each in services],
            "invalidations": {
                "pending": reading.pending,
                "by_source": dict(reading.invalidations),
                "last": [_shown(each) for each in self._recent],
            },
            "events": dict(reading.events),
            "queues": [asdict(each) for each in self._conditions.queues()],
            "top_models": {
                "seconds": self._popular.seconds,
                "models": [_shown_model(each) for each in self._popular.top(_TOP_MODELS)],
            },
            "series": [] if since is None else [asdict(point) for point in self._points(since, reading)],
        }

    def _points(self, since: float, reading: Reading) -> list[Any]:
        """The points after `since`; the last one is the current step, which has not ended yet."""
        return [*self.series.points(since), self.series.present(reading)]

    def _envoy_restarts(self) -> int | None:
        """How often Envoy crashed and was restarted; None with another transport."""
        count = self._registry.get_sample_value("media_cache_envoy_restarts_total")
        return None if count is None else int(count)

    def _reading(self) -> Reading:
        return read(self._registry, self._methods)


def _resident_bytes() -> int | None:
    """Resident memory of the whole process (proc_pid_statm(5)), with Envoy if it runs inside; None if unknown."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _shown_service(each: ServiceState) -> dict[str, Any]:
    return {"name": each.name, "target": each.target, "up": each.up, "reason": each.reason}


def _shown_model(each: PopularModel) -> dict[str, Any]:
    kind, _, name = each.tag.rpartition("/")
    return {"model_type": kind or name, "model_id": name if kind else "", "reads": each.reads, "cached": each.cached}


def _shown(each: Invalidation) -> dict[str, Any]:
    return {
        "at": each.at,
        "tag": each.tag,
        "shown": each.shown,
        # For the page and older commands. The id is text, since JavaScript has no exact integers beyond 2^53.
        "model_type": each.kind,
        "model_id": each.name,
        "source": each.source,
        "detail": each.detail,
    }
