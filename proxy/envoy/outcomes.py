"""How callers' calls ended, as counted by Envoy: its configuration for that, and its counts under our own names. Pure.

Envoy answers most calls without the core, some of them by itself (a limit, no connection, no such path): only it knows
what callers got. Its access log `envoy.access_loggers.stats` adds one for each call that has ended, by route, gRPC
status and *response flag*, which says why Envoy itself answered.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (%RESPONSE_FLAGS%)
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from grpc import StatusCode

from proxy.envoy.ended import CORE, OTHER, OURS, PREFIX
from proxy.envoy.services import AGAIN, UPSTREAM

FILTER = (
    rf"^({PREFIX}\..*|cluster\.({UPSTREAM}|{AGAIN})(-[0-9]+)?\.upstream_rq_(active|pending_active)"
    r"|http\.callers\.downstream_cx_active|listener\..*\.downstream_global_cx_overflow)$"
)
"""Of the statistics, as a regular expression, those that `read` understands."""

_ENDED = re.compile(rf"{PREFIX}\.calls\.method\.(.*)\.status\.([^.]*)\.flags\.([^.]*)")
_STATUSES = frozenset(StatusCode.__members__)
_CALLER_LEFT = frozenset({"DC", "DR"})
_REFUSED = {"UO": "MAX_CONCURRENT_CALLS"}
"""Response flags of what we refuse by Envoy."""


@dataclass(slots=True)
class Outcomes:
    """Counts since Envoy's start, but for what is in use now."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By method and gRPC status."""
    refused: Counter[str] = field(default_factory=Counter)
    """By the limit that Envoy kept."""
    forwarded: int = 0
    """Calls that are at the media service now, not by way of the core."""
    connections: int = 0
    """Of callers, now."""


def read(stats: Iterable[Mapping[str, object]]) -> Outcomes:
    """From Envoy's `/stats?format=json`."""
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
    if not method and flags & _CALLER_LEFT:  # it was reset before it had a route, so while its headers were read
        found.refused["unread"] += value
    if status not in _STATUSES:
        status = "CANCELLED" if flags & _CALLER_LEFT else "UNKNOWN"
    found.ended[method or OTHER, status] += value
    for flag in flags & _REFUSED.keys():
        found.refused[_REFUSED[flag]] += value
