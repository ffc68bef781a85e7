"""How Envoy ends calls: the status of those that it answers itself, and what it counts. Pure.

For `outcomes` it counts every call by route, gRPC status and *response flag*, which says why Envoy itself answered; for
`forwarded` it measures how long the calls took. The names of the routes show which calls the core answers.

https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage (%RESPONSE_FLAGS%)
"""

from enum import IntEnum

from proxy.envoy.addresses import Json
from proxy.envoy.http2 import extension

OURS, OTHER = "ours", "other"
"""Names of routes: health and reflection; methods that the policy does not name. All others are labels of methods."""
CORE = "core "
"""Prefix of the names of routes to the core; labels contain no spaces."""
PREFIX, COUNTS, DURATIONS = "callers_ended", "calls", "durations"
"""Names of the statistics that `outcomes` and `forwarded` read."""


class Status(IntEnum):
    """gRPC's numbers of these statuses. `serve` does not import the library for them, which saves 2 MB."""

    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


def too_many_calls(most: int) -> str:
    """The message for a caller beyond MAX_CONCURRENT_CALLS."""
    return f"the proxy serves at most {most} calls at once (MAX_CONCURRENT_CALLS)"


def local_replies(most_calls: int) -> Json:
    """Gives the answers of Envoy itself the status that gRPC has for them. By default all are UNAVAILABLE, which makes
    callers retry. The first matching rule applies.

    Envoy does not report the code with which upstream reset a call. gRPC maps most of the fourteen codes to INTERNAL.
    """
    words = {"body_format_override": {"text_format_source": {"inline_string": too_many_calls(most_calls)}}}
    return {
        "mappers": [
            {**_answered("UO", Status.RESOURCE_EXHAUSTED), **words},
            _answered("URX", Status.UNAVAILABLE),  # upstream processed neither attempt
            _answered("UR", Status.INTERNAL),
            _answered("UPE", Status.INTERNAL),
        ]
    }


def _answered(flag: str, code: Status) -> Json:
    """A rule: Envoy's own answers with this response flag have that status."""
    return {
        "filter": {"response_flag_filter": {"flags": [flag]}},
        "headers_to_add": [overwritten("grpc-status", str(code.value))["append"]],
    }


def overwritten(key: str, value: str) -> Json:
    """A mutation that gives a header this single value."""
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


def access_logs() -> list[Json]:
    """An access log that counts and measures all calls, without writing anything.

    It is a single log without a filter: excluding the core's calls from the durations by their paths would cost every
    forwarded call more than the durations cost the core's calls.
    """
    count = {**_tagged(COUNTS, status="%GRPC_STATUS(SNAKE_STRING)%"), "value_fixed": 1}
    duration = _tagged(DURATIONS, code="%GRPC_STATUS_NUMBER%") | {"unit": "Milliseconds", "value_format": "%DURATION%"}
    kind = "access_loggers.stats.v3.Config"
    stats = {"stats_scope": {"prefix": PREFIX}, "counters": [count], "histograms": [duration]}
    return [extension("envoy.access_loggers.stats", kind, **stats)]


def _tagged(named: str, **status: str) -> Json:
    tags = {"method": "%ROUTE_NAME%", **status, "flags": "%RESPONSE_FLAGS%"}
    return {"stat": {"name": named, "tags": [{"name": name, "value_format": text} for name, text in tags.items()]}}
