"""`ForwardedCalls`: adds Envoy's counts of the calls that it forwards by itself to the proxy's own metrics.

So `rpc_*` cover all calls on both transports, and dashboards and alerts need not know about Envoy. `listener` makes
Envoy count these calls in histograms, which are read whenever the metrics are scraped.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from grpc import StatusCode

from proxy.envoy.ended_calls import CORE, DURATIONS, OURS, PREFIX
from proxy.telemetry.metrics import Metrics

_DURATIONS = f"envoy_{PREFIX}_{DURATIONS}"
_LINE = re.compile(
    rf'{_DURATIONS}_(?P<what>bucket|sum|count)\{{method="(?P<method>[^"]*)",code="(?P<code>[^"]*)",flags="(?P<flags>[^"]*)"'
    r'(?:,le="(?P<le>[^"]*)")?\} (?P<value>\S+)'
)
_CALLER_GONE = {"DC", "DR", "DPE"}
"""Envoy's response flags of calls that ended because the caller ended them or its connection."""
_TOO_MANY = "UO"
_NOT_SENT = {_TOO_MANY, "NR", "DPE"}
"""Flags of calls that Envoy refused."""
_RESET = {"UR", "UPE"}
"""Flags of calls that upstream reset, or in which it violated the protocol."""
_CODES = {str(code.value[0]): code for code in StatusCode}


@dataclass(slots=True)
class _Series:
    """A histogram as Prometheus has it: `buckets` are cumulative, by their bound in milliseconds."""

    buckets: dict[float, int] = field(default_factory=dict)
    milliseconds: float = 0.0


class ForwardedCalls:
    """The counts of one Envoy process, which only grow."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: dict[tuple[str, str, str], _Series] = {}

    def tell(self, text: str) -> str:
        """Adds what is new in Envoy's statistics, given as Prometheus text, to the metrics. Returns the text without
        these histograms.
        """
        now: defaultdict[tuple[str, str, str], _Series] = defaultdict(_Series)
        rest = []
        for line in text.splitlines(keepends=True):
            if (found := _LINE.match(line)) is not None:
                series = now[found["method"], found["code"], found["flags"]]
                if found["what"] == "bucket":
                    series.buckets[float(found["le"])] = int(found["value"])
                elif found["what"] == "sum":
                    series.milliseconds = float(found["value"])
            elif not line.startswith(f"# TYPE {_DURATIONS} "):
                rest.append(line)
        for key, series in now.items():
            if key[0] == OURS or key[0].startswith(CORE):
                continue
            self._tell(key, series, self._told.get(key, _Series()))
        self._told |= now
        return "".join(rest)

    def _tell(self, key: tuple[str, str, str], now: _Series, before: _Series) -> None:
        method, code, flags = key
        counts, below = Counter[float](), 0
        for bound in sorted(now.buckets):
            so_far = now.buckets[bound] - before.buckets.get(bound, 0)
            if so_far > below:
                counts[bound / 1000] = so_far - below
                below = so_far
        seconds = max(0.0, now.milliseconds - before.milliseconds) / 1000
        if counts:
            sent = not _NOT_SENT & set(flags.split(","))
            path = self._metrics.methods.path(method)
            self._metrics.forwarded_calls(path, _code(code, flags), counts, seconds, upstream=sent)


def _code(number: str, flags: str) -> StatusCode:
    """The outcome as the caller saw it. A call without a status was reset."""
    if _CALLER_GONE & set(flags.split(",")):
        return StatusCode.CANCELLED
    # Envoy counts a call before it gives its own answer the status of `local_replies`.
    if _TOO_MANY in flags.split(","):
        return StatusCode.RESOURCE_EXHAUSTED
    if _RESET & set(flags.split(",")) and "URX" not in flags.split(","):
        return StatusCode.INTERNAL
    if flags != "-" and number == "2":
        return StatusCode.INTERNAL  # it ended after its headers: Envoy derives the number from their HTTP status
    return _CODES.get(number, StatusCode.UNKNOWN)
