"""`Outcomes`: how callers' calls ended, as counted by Envoy, under the proxy's own names. Pure.

Envoy answers most calls without the core, some of them by itself (a limit, no connection, no such path), and only it
knows what callers got. Its access log `envoy.access_loggers.stats` counts each call that has ended by route, gRPC
status and *response flag*, which says why Envoy itself answered.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (%RESPONSE_FLAGS%)
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from grpc import StatusCode

from proxy.envoy.ended_calls import CORE, COUNTS, OTHER, OURS, PREFIX
from proxy.envoy.services import AGAIN, UPSTREAM

FILTER = (
    rf"^({PREFIX}\.{COUNTS}\..*|cluster\.({UPSTREAM}|{AGAIN})(-[0-9]+)?\.upstream_rq_(active|pending_active)"
    r"|http\.callers\.downstream_cx_active|listener\..*\.downstream_global_cx_overflow)$"
)
"""A regular expression for the statistics that `read` understands."""

_ENDED = re.compile(rf"{PREFIX}\.{COUNTS}\.method\.(?:{CORE})?(.*)\.status\.([^.]*)\.flags\.([^.]*)")
_STATUSES = frozenset(StatusCode.__members__)
_CALLER_LEFT = frozenset({"DC", "DR"})
_REFUSED = {"UO": "MAX_CONCURRENT_CALLS"}
"""The response flags of calls that Envoy refuses, and the limits that it enforces by them."""


@dataclass(slots=True)
class Outcomes:
    """Counts since Envoy's start, except `forwarded` and `connections`, which are current values."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Ended calls by method and gRPC status."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused calls by the limit that Envoy enforced."""
    forwarded: int = 0
    """Calls in progress that Envoy forwards without the core."""
    connections: int = 0
    """Callers' open connections."""


def read(stats: Iterable[Mapping[str, object]]) -> Outcomes:
    """Reads the `stats` of Envoy's `/stats?format=json`."""
    found = Outcomes()
    for stat in stats:
        name, value = str(stat.get("name", "")), int(str(stat.get("value", 0)))
        if ended := _ENDED.fullmatch(name):
            _count(found, ended[1], ended[2], frozenset(ended[3].split(",")), value)
        elif name.startswith("cluster."):
            found.forwarded += value
        elif name.startswith("http.callers."):
            found.connections += value
        elif not name.startswith("listener.admin."):
            found.refused["MAX_CONNECTIONS"] += value
    return found


def _count(found: Outcomes, method: str, status: str, flags: frozenset[str], value: int) -> None:
    if method == OURS:
        return
    method = method.removeprefix(CORE)
    if not method and flags & _CALLER_LEFT:  # a call without a route was reset while its headers were read
        found.refused["unread"] += value
    if status not in _STATUSES:
        status = "CANCELLED" if flags & _CALLER_LEFT else "UNKNOWN"
    found.ended[method or OTHER, status] += value
    for flag in flags & _REFUSED.keys():
        found.refused[_REFUSED[flag]] += value
