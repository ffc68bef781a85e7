"""How Envoy ends calls: the status of those that it answers itself, and what it counts. Pure.

It counts every call by route, gRPC status and *response flag*, which says why Envoy itself answered, for `outcomes`,
and how long it took, for `forwarded`. The names of routes tell which calls the core answers.

https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (%RESPONSE_FLAGS%)
"""

from enum import IntEnum

from proxy.envoy.addresses import Json
from proxy.envoy.http2 import extension

OURS, OTHER = "ours", "other"
"""Names of routes: health and reflection; methods that the policy does not name. The others are methods' labels."""
CORE = "core "
"""What the names of routes to the core begin with; no label has a space."""
PREFIX, COUNTS, DURATIONS = "callers_ended", "calls", "durations"
"""Of the statistics that `outcomes` and `forwarded` read."""


class Status(IntEnum):
    """gRPC's numbers of those. The library has them, too: `serve` does without it, and takes 2 MB less."""

    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


def too_many_calls(most: int) -> str:
    """What a caller above MAX_CONCURRENT_CALLS is told."""
    return f"the proxy serves at most {most} calls at once (MAX_CONCURRENT_CALLS)"


def local_replies(most_calls: int) -> Json:
    """What Envoy answers itself, with the status that gRPC has for it; by default all of it is UNAVAILABLE, on which
    callers make calls again. The first that fits counts.

    Envoy does not tell with which code upstream reset a call. Of RST_STREAM's fourteen most are INTERNAL to gRPC.
    """
    words = {"body_format_override": {"text_format_source": {"inline_string": too_many_calls(most_calls)}}}
    return {
        "mappers": [
            {**_answered("UO", Status.RESOURCE_EXHAUSTED), **words},
            _answered("URX", Status.UNAVAILABLE),  # never processed, twice
            _answered("UR", Status.INTERNAL),
            _answered("UPE", Status.INTERNAL),
        ]
    }


def _answered(flag: str, code: Status) -> Json:
    """A mapper: what Envoy answers with this of its response flags has that status."""
    return {
        "filter": {"response_flag_filter": {"flags": [flag]}},
        "headers_to_add": [overwritten("grpc-status", str(code.value))["append"]],
    }


def overwritten(key: str, value: str) -> Json:
    """A header's mutation: it has this value and no other."""
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def access_logs() -> list[Json]:
    """Counts and durations of all calls; nothing is written.

    It is one log without a filter: to keep the core's calls out of the durations, by their paths, costs every forwarded
    call more than the durations cost the core's.
    """
    count = {**_tagged(COUNTS, status="%GRPC_STATUS(SNAKE_STRING)%"), "value_fixed": 1}
    duration = _tagged(DURATIONS, code="%GRPC_STATUS_NUMBER%") | {"unit": "Milliseconds", "value_format": "%DURATION%"}
    kind = "access_loggers.stats.v3.Config"
    stats = {"stats_scope": {"prefix": PREFIX}, "counters": [count], "histograms": [duration]}
    return [extension("envoy.access_loggers.stats", kind, **stats)]


def _tagged(named: str, **status: str) -> Json:
    tags = {"method": "%ROUTE_NAME%", **status, "flags": "%RESPONSE_FLAGS%"}
    return {"stat": {"name": named, "tags": [{"name": name, "value_format": text} for name, text in tags.items()]}}
