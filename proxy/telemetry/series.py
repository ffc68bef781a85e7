"""`Series`: what happened during the last hour, in steps of five seconds, for the admin page.

Prometheus keeps the history; this is for operators who only have the process. It takes at most some hundred kB.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from proxy.telemetry.readings import RESULTS, Reading, difference, hit_ratio, quantile

STEP = 5.0
"""Seconds between two readings."""
MOST_POINTS = 720
_SUMMARY = 300.0
"""Seconds that `Series.summary` covers."""


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one step. `_p50` and `_p99` are the median and the 99th percentile of durations in seconds, or
    None if there were none.
    """

    at: float
    """The end of the step, in seconds since 1970."""
    seconds: float
    """The length of the step."""
    results: dict[str, int]
    """Answers of cacheable methods by result."""
    statuses: dict[str, int]
    """Calls of any method by the gRPC status that the caller got."""
    refused: int
    """Calls that the proxy itself refused."""
    hit_ratio: float | None
    hit_p50: float | None
    hit_p99: float | None
    miss_p50: float | None
    miss_p99: float | None
    upstream_p50: float | None


class Series:
    """Takes a reading in each step, while `run` runs."""

    def __init__(
        self,
        read: Callable[[], Reading],
        *,
        step: float = STEP,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._step = step
        self._clock = clock
        self._wall_clock = wall_clock
        self._points: deque[Point] = deque(maxlen=MOST_POINTS)
        self._last, self._last_at = read(), clock()
        self._recent: deque[tuple[float, Reading]] = deque([(self._last_at, self._last)])

    async def run(self) -> None:
        """Takes readings until cancelled."""
        while True:
            await asyncio.sleep(self._step)
            self.take()

    def take(self) -> None:
        """Ends the current step and begins the next one."""
        now, reading = self._clock(), self._read()
        self._points.append(self._point(reading, now))
        self._last, self._last_at = reading, now
        self._recent.append((now, reading))
        while self._recent[1][0] <= now - _SUMMARY:
            self._recent.popleft()

    def points(self, since: float) -> list[Point]:
        """The steps that ended after `since` (seconds since 1970), the oldest first."""
        return [point for point in self._points if point.at > since]

    def present(self, reading: Reading) -> Point:
        """The current step, which has not ended yet; `reading` is the present one."""
        return self._point(reading, self._clock())

    def summary(self, reading: Reading) -> Point:
        """The last five minutes, or the time since the start if that is shorter, as one point."""
        begun, earlier = self._recent[0]
        return self._between(earlier, begun, reading, self._clock())

    def _point(self, reading: Reading, now: float) -> Point:
        return self._between(self._last, self._last_at, reading, now)

    def _between(self, earlier: Reading, begun: float, later: Reading, now: float) -> Point:
        results = Counter({result: later.results[result] - earlier.results[result] for result in RESULTS})
        hits, misses = (difference(later.answers[name].items(), earlier.answers[name]) for name in ("hit", "miss"))
        statuses = later.statuses - earlier.statuses
        upstream = difference(later.upstream.items(), earlier.upstream)
        return Point(
            at=self._wall_clock(),
            seconds=now - begun,
            results=dict(results),
            statuses=dict(statuses),
            refused=(later.refusals - earlier.refusals).total(),
            hit_ratio=hit_ratio(results),
            hit_p50=quantile(0.5, hits),
            hit_p99=quantile(0.99, hits),
            miss_p50=quantile(0.5, misses),
            miss_p99=quantile(0.99, misses),
            upstream_p50=quantile(0.5, upstream),
        )
